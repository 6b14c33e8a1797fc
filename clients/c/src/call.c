/* One call's answers and its end. Runs under the channel's lock. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Complete messages that nobody has taken; above it the server's window isn't opened again. */
#define INBOX_BYTES ((size_t)1024 * 1024)
/* Queued to be sent at most: a full queue and one message above it. */
#define MAX_OUT_BYTES ((size_t)2 * 1024 * 1024 * 1024)

/* ---- life ---- */

const struct auditstore_call_options no_call_options;

static bool set_options(struct auditstore_stream *s, const struct auditstore_call_options *o,
                        struct auditstore_status *status) {
  struct auditstore_channel *c = s->channel;
  struct auditstore_retry_policy policy = o->retry ? *o->retry : c->retry;
  if (!retry_policy_check(&policy)) {
    status_set(status, AUDITSTORE_INVALID_ARGUMENT,
               "retry: max_attempts is 1 to 5, 0 for the default; pauses aren't negative");
    return false;
  }
  retry_init(&s->retry, &policy);
  s->waits_for_ready = o->wait_for_ready;
  s->deadline_us = timeout_to_deadline(o->timeout_ms ? o->timeout_ms : c->default_timeout_ms);
  return metadata_init(&s->metadata, o->metadata, o->metadata_count, status);
}

struct auditstore_stream *call_new(struct auditstore_channel *c,
                                   const struct auditstore_method *method,
                                   const struct auditstore_call_options *options,
                                   struct auditstore_status *status) {
  struct auditstore_stream *s = calloc(1, sizeof(*s));
  if (!s) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  s->channel = c;
  s->method = method;
  s->sent_at = UINT64_MAX;
  buf_init(&s->out, MAX_OUT_BYTES);
  grpc_deframer_init(&s->deframer, c->max_message_bytes);
  if (set_options(s, options ? options : &no_call_options, status))
    return s;
  call_free(s);
  return NULL;
}

void call_free(struct auditstore_stream *s) {
  call_drop_messages(s);
  grpc_deframer_deinit(&s->deframer);
  buf_deinit(&s->out);
  metadata_deinit(&s->metadata);
  auditstore_status_deinit(&s->status);
  free(s);
}

/* Off its link, or out of the waiting ones. */
static void leave(struct auditstore_stream *s) {
  if (s->link) {
    nghttp2_session_set_stream_user_data(s->link->session, s->id, NULL);
    list_remove(&s->link->calls, &s->entry);
    s->link = NULL;
  } else if (s->is_begun) {
    list_remove(&s->channel->waiting, &s->entry);
  }
}

void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  s->is_ended = true;
  leave(s);
  if (message)
    status_set(&s->status, code, "%s", message);
  s->channel->changes++;
  channel_tell(s->channel);
}

static void reset(struct auditstore_stream *s, uint32_t http2_error) {
  if (s->link)
    nghttp2_submit_rst_stream(s->link->session, NGHTTP2_FLAG_NONE, s->id, http2_error);
}

void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  reset(s, NGHTTP2_CANCEL);
  call_end(s, code, message);
}

/* ---- attempts ---- */

void call_begin(struct auditstore_stream *s) {
  struct auditstore_channel *c = s->channel;
  struct link *l = find_link(c);
  /* What the server said while nobody looked comes first: it may have closed. */
  if (l)
    link_receive(l);
  s->is_begun = true;
  list_push_back(&c->waiting, &s->entry);
  channel_due(c, s->deadline_us);
  channel_turn(c);
}

static void place(struct auditstore_stream *s, struct link *l) {
  struct auditstore_channel *c = s->channel;
  list_remove(&c->waiting, &s->entry);
  s->is_begun = false;
  if (call_submit(s, l) < 0) {
    call_end(s, s->status.code, NULL);
    return;
  }
  s->is_begun = true;
  s->retry.attempts++;
  s->link = l;
  link_watch(l);
  list_push_back(&l->calls, &s->entry);
  c->changes++;
  channel_tell(c);
}

/* Whether nothing will come of waiting. */
static bool is_hopeless(const struct auditstore_stream *s) {
  const struct auditstore_channel *c = s->channel;
  return c->state == AUDITSTORE_CHANNEL_TRANSIENT_FAILURE &&
         (!s->waits_for_ready || c->failure_code != AUDITSTORE_UNAVAILABLE);
}

void calls_place(struct auditstore_channel *c) {
  struct list_link *next;
  for (struct list_link *at = c->waiting.first; at; at = next) {
    struct auditstore_stream *s = LIST_ENTRY(at, struct auditstore_stream, entry);
    struct link *l = find_link(c);
    next = at->next;
    if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
      call_end(s, AUDITSTORE_CANCELLED, "the channel was shut down");
    else if (l && s->pause_until_us == 0)
      place(s, l);
    else if (is_hopeless(s))
      call_end(s, c->failure_code, c->failure.text);
  }
}

/* As if nothing had been sent or received. */
static void start_over(struct auditstore_stream *s, int64_t pause_us) {
  struct auditstore_channel *c = s->channel;
  size_t max_message_bytes = s->deframer.max_body_bytes;
  leave(s);
  auditstore_status_deinit(&s->status);
  grpc_deframer_deinit(&s->deframer);
  grpc_deframer_init(&s->deframer, max_message_bytes);
  s->id = 0;
  s->sent_at = UINT64_MAX;
  s->out_taken = 0;
  s->held_bytes = 0;
  s->http_status = 0;
  s->is_deferred = s->has_headers = s->has_status = s->is_grpc = false;
  s->retry.pushback_ms = RETRY_NO_PUSHBACK;
  s->pause_until_us = pause_us > 0 ? monotonic_us() + pause_us : 0;
  list_push_back(&c->waiting, &s->entry);
  if (pause_us > 0)
    channel_due(c, s->pause_until_us);
  c->changes++;
  channel_tell(c);
}

/* Whether the call is made again; *ret_pause_us: after that. */
static bool is_made_again(struct auditstore_stream *s, bool is_untouched, int64_t *ret_pause_us) {
  struct auditstore_channel *c = s->channel;
  *ret_pause_us = 0;
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN || s->is_committed || s->has_headers)
    return false;
  if (is_untouched && retry_untouched(&s->retry)) {
    s->retry.attempts--;
    return true;
  }
  return s->is_unary &&
         retry_by_policy(&s->retry, &c->throttle, &s->status, &c->random, ret_pause_us) &&
         monotonic_us() < s->deadline_us - *ret_pause_us;
}

void call_attempt_over(struct auditstore_stream *s, bool is_untouched) {
  struct auditstore_channel *c = s->channel;
  int64_t pause_us = 0;
  if (s->is_ended)
    return;
  if (s->status.code == AUDITSTORE_OK)
    retry_succeeded(&c->throttle);
  else if (is_made_again(s, is_untouched, &pause_us)) {
    start_over(s, pause_us);
    return;
  }
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
    call_end(s, AUDITSTORE_CANCELLED, "the channel was shut down");
  else
    call_end(s, s->status.code, NULL);
}

void call_commit(struct auditstore_stream *s) {
  s->is_committed = true;
  buf_consume(&s->out, s->out_taken);
  s->out_taken = 0;
}

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
  if (str_equal(name, str_z(":status"))) {
    s->http_status = parse_http_status(value);
  } else if (str_equal(name, str_z("content-type"))) {
    s->is_grpc = is_grpc_type(value);
  } else {
    s->has_status |= str_equal(name, str_z("grpc-status"));
    if (str_equal(name, str_z("grpc-retry-pushback-ms")))
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
  s->channel->fruitless = 0;
  call_commit(s);
  if (s->http_status == 200 && s->is_grpc)
    return;
  reset(s, NGHTTP2_CANCEL);
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
  if (len)
    memcpy(message->bytes, buf_bytes(&s->deframer.body), len);
  list_push_back(&s->inbox, &message->entry);
  s->inbox_bytes += message_cost(len);
  return true;
}

static void refuse_answer(struct auditstore_stream *s, enum grpc_deframe_result result) {
  if (result == GRPC_DEFRAME_TOO_LARGE)
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "the answer is larger than max_message_bytes");
  else if (result == GRPC_DEFRAME_COMPRESSED)
    call_abort(s, AUDITSTORE_INTERNAL, "the server compressed an answer unasked");
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
    reset(s, NGHTTP2_NO_ERROR);
  s->channel->fruitless = 0;
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
  reset(s, NGHTTP2_CANCEL);
  status_set(&s->status, AUDITSTORE_UNAVAILABLE, "the server is going away");
  call_attempt_over(s, true);
}
