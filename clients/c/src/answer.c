/* What a server answers to a call, and what that makes of it. Runs under the channel's lock. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Complete messages that nobody has taken; above it the server's window isn't opened again. */
#define INBOX_BYTES ((size_t)1024 * 1024)

/* ---- headers ---- */

/* Three digits: HTTP/2 has checked that. */
static int parse_http_status(struct str value) {
  int status = 0;
  for (size_t i = 0; i < value.len && i < 3; i++)
    status = status * 10 + (value.data[i] - '0');
  return status;
}

/* "application/grpc", alone or with a subtype or parameters; not "application/grpc-web". */
static bool is_grpc_type(struct str value) {
  static const char name[] = "application/grpc";
  const size_t len = sizeof(name) - 1;
  return value.len >= len && strncasecmp(value.data, name, len) == 0 &&
         (value.len == len || value.data[len] == '+' || value.data[len] == ';');
}

void call_on_header(struct auditstore_stream *s, struct str name, struct str value) {
  if (str_is(name, ":status")) {
    s->http_status = parse_http_status(value);
  } else if (str_is(name, "content-type")) {
    s->is_grpc = is_grpc_type(value);
  } else if (str_is(name, "grpc-encoding")) {
    s->deframer.may_be_compressed = str_is(value, "gzip");
  } else {
    s->has_status |= str_is(name, "grpc-status");
    if (str_is(name, "grpc-retry-pushback-ms"))
      retry_take_pushback(&s->retry, value);
    status_take_header(&s->status, name, value);
  }
}

static void end_as_http(struct auditstore_stream *s) {
  status_set(&s->status, code_of_http_status(s->http_status),
             "the server answered HTTP %d, not gRPC", s->http_status);
  call_attempt_over(s, false);
}

void call_on_headers_end(struct auditstore_stream *s) {
  /* More follows, so these weren't trailers: none of it is the call's status. */
  auditstore_status_deinit(&s->status);
  s->has_status = false;
  if (s->http_status < 200)
    return;
  s->has_headers = true;
  s->channel->is_fruitful = true;
  call_commit(s);
  if (s->http_status == 200 && s->is_grpc)
    return;
  call_reset(s, NGHTTP2_CANCEL);
  end_as_http(s);
}

/* ---- messages ---- */

/* Credit for a message under assembly must come at once, or one larger than the window would never
 * be complete; messages that wait to be taken hold it back. */
static void give_credit(struct auditstore_stream *s) {
  if (!s->link || s->held_bytes == 0 || s->inbox_bytes >= INBOX_BYTES)
    return;
  nghttp2_session_consume_stream(s->link->session, s->id, s->held_bytes);
  s->held_bytes = 0;
}

/* Messages without content cost memory too. */
static size_t message_cost(size_t len) {
  return sizeof(struct received) + len;
}

struct received *call_take_message(struct auditstore_stream *s) {
  struct list_link *first = list_pop_front(&s->inbox);
  if (!first)
    return NULL;
  struct received *message = LIST_ENTRY(first, struct received, entry);
  s->inbox_bytes -= message_cost(message->len);
  give_credit(s);
  return message;
}

void call_drop_messages(struct auditstore_stream *s) {
  struct list_link *next;
  for (struct list_link *at = s->inbox.first; at; at = next) {
    next = at->next;
    free(LIST_ENTRY(at, struct received, entry));
  }
  s->inbox = (struct list){0};
  s->inbox_bytes = 0;
  give_credit(s);
}

static bool keep_message(struct auditstore_stream *s) {
  size_t len = s->deframer.body_len;
  struct received *message = malloc(message_cost(len));
  if (!message)
    return false;
  message->len = len;
  message->is_compressed = grpc_deframer_is_compressed(&s->deframer);
  if (len)
    memcpy(message->bytes, buf_bytes(&s->deframer.body), len);
  list_push_back(&s->inbox, &message->entry);
  s->inbox_bytes += message_cost(len);
  return true;
}

static void refuse_answer(struct auditstore_stream *s, enum grpc_deframe_result result) {
  if (result == GRPC_DEFRAME_TOO_LARGE)
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "the answer is larger than max_message_bytes");
  else if (result == GRPC_DEFRAME_NO_MEMORY)
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  else if (result == GRPC_DEFRAME_COMPRESSED)
    call_abort(s, AUDITSTORE_INTERNAL, "the server compressed an answer without saying how");
  else
    call_abort(s, AUDITSTORE_INTERNAL, "the server's answer isn't framed as gRPC");
}

static void on_message(struct auditstore_stream *s) {
  if (s->is_unary && s->inbox.count > 0)
    call_abort(s, AUDITSTORE_INTERNAL, "the server sent more than one answer");
  else if (!keep_message(s))
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  else
    grpc_deframer_next(&s->deframer);
}

void call_on_data(struct auditstore_stream *s, const uint8_t *data, size_t len) {
  s->held_bytes += len;
  while (!s->is_ended) {
    enum grpc_deframe_result result = grpc_deframer_feed(&s->deframer, &data, &len);
    if (result == GRPC_DEFRAME_MORE)
      break;
    if (result == GRPC_DEFRAME_MESSAGE)
      on_message(s);
    else
      refuse_answer(s, result);
  }
  give_credit(s);
}

/* ---- the end ---- */

void call_on_answer_end(struct auditstore_stream *s) {
  /* The server is done whether or not we are; it may not read on. */
  if (!nghttp2_session_get_stream_local_close(s->link->session, s->id))
    call_reset(s, NGHTTP2_NO_ERROR);
  s->channel->is_fruitful = true;
  bool is_cut = grpc_deframer_is_partial(&s->deframer);
  if (s->has_status && s->status.code == AUDITSTORE_OK && is_cut)
    call_end(s, AUDITSTORE_INTERNAL, "the server ended in the middle of a message");
  else if (s->has_status)
    call_attempt_over(s, false);
  else if (s->http_status != 200 || !s->is_grpc)
    end_as_http(s);
  else
    call_end(s, AUDITSTORE_UNKNOWN, "the server ended the call without a status");
}

/* Without END_STREAM: reset, or never sent. */
void call_on_close(struct auditstore_stream *s, uint32_t http2_error) {
  bool was_sent = s->sent_at != UINT64_MAX;
  enum auditstore_code code = was_sent ? code_of_http2_error(http2_error) : AUDITSTORE_UNAVAILABLE;
  bool is_untouched = !s->has_headers && (!was_sent || http2_error == NGHTTP2_REFUSED_STREAM);
  /* Both ends know the deadline; the server's reset may be faster than our clock's end. */
  if (code == AUDITSTORE_CANCELLED && monotonic_us() >= s->deadline_us)
    code = AUDITSTORE_DEADLINE_EXCEEDED;
  status_set(&s->status, code, "the server reset the call: %s",
             nghttp2_http2_strerror(http2_error));
  call_attempt_over(s, is_untouched);
}

/* Calls that wait for a place among the concurrent ones will not get it on this link. */
void call_on_goaway(struct auditstore_stream *s) {
  if (s->sent_at != UINT64_MAX)
    return;
  call_reset(s, NGHTTP2_CANCEL);
  status_set(&s->status, AUDITSTORE_UNAVAILABLE, "the server is going away");
  call_attempt_over(s, true);
}
