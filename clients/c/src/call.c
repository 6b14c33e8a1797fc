/* One call: its request, its answers, its end. Runs under the channel's lock. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Complete messages that nobody has taken; above it the server's window isn't opened again. */
#define INBOX_BYTES   (1024 * 1024)
#define MAX_USER_KEYS 64

/* ---- the end ---- */

void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  s->is_ended = true;
  if (s->id > 0 && s->channel->session)
    nghttp2_session_set_stream_user_data(s->channel->session, s->id, NULL);
  s->id = 0;
  list_remove(&s->channel->calls, &s->link);
  if (message)
    status_set(&s->status, code, "%s", message);
  channel_tell(s->channel);
}

void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  if (s->id > 0)
    nghttp2_submit_rst_stream(s->channel->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
  call_end(s, code, message);
}

void call_on_close(struct auditstore_stream *s, uint32_t http2_error) {
  bool was_refused = http2_error == NGHTTP2_REFUSED_STREAM;
  s->may_retry = was_refused && !s->has_headers;
  if (s->has_status && s->status.code == AUDITSTORE_OK && grpc_deframer_is_partial(&s->deframer))
    call_end(s, AUDITSTORE_INTERNAL, "the server ended in the middle of a message");
  else if (s->has_status)
    call_end(s, s->status.code, NULL);
  else if (http2_error != NGHTTP2_NO_ERROR)
    call_end(s, code_of_http2_error(http2_error),
             was_refused ? "refused by the server" : "reset by the server");
  else if (s->http_status != 200)
    call_end(s, code_of_http_status(s->http_status), "the server answered HTTP, not gRPC");
  else
    call_end(s, AUDITSTORE_UNKNOWN, "the server ended the call without a status");
}

/* ---- answers ---- */

static int parse_http_status(struct str value) {
  int status = 0;
  for (size_t i = 0; i < value.len && i < 3; i++)
    status = status * 10 + (value.data[i] - '0');
  return status;
}

void call_on_header(struct auditstore_stream *s, struct str name, struct str value) {
  if (str_equal(name, str_z(":status"))) {
    s->http_status = parse_http_status(value);
  } else if (str_equal(name, str_z("content-type"))) {
    s->is_grpc = value.len >= 16 && memcmp(value.data, "application/grpc", 16) == 0;
  } else {
    s->has_status |= str_equal(name, str_z("grpc-status"));
    status_take_header(&s->status, name, value);
  }
}

static bool keep_message(struct auditstore_stream *s) {
  struct received *message = malloc(sizeof(*message) + s->deframer.body_len);
  if (!message)
    return false;
  message->len = s->deframer.body_len;
  if (message->len)
    memcpy(message->bytes, buf_bytes(&s->deframer.body), message->len);
  list_push_back(&s->inbox, &message->link);
  s->inbox_bytes += message->len;
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

/* Credit for a message under assembly must come at once, or one larger than the window would never
 * be complete; only messages that wait to be taken hold it back. */
static void give_credit(struct auditstore_stream *s, size_t len) {
  if (s->inbox_bytes >= INBOX_BYTES) {
    s->held_bytes += len;
    return;
  }
  nghttp2_session_consume_stream(s->channel->session, s->id, len + s->held_bytes);
  s->held_bytes = 0;
}

void call_on_data(struct auditstore_stream *s, const uint8_t *data, size_t len) {
  size_t all = len;
  while (len > 0 && !s->is_ended) {
    enum grpc_deframe_result result = grpc_deframer_feed(&s->deframer, &data, &len);
    if (result == GRPC_DEFRAME_MORE)
      break;
    if (result != GRPC_DEFRAME_MESSAGE) {
      refuse_answer(s, result);
    } else if (!keep_message(s)) {
      call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    } else {
      grpc_deframer_next(&s->deframer);
    }
  }
  if (!s->is_ended)
    give_credit(s, all);
}

/* ---- the request ---- */

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *arg) {
  (void)session;
  (void)id;
  (void)arg;
  struct auditstore_stream *s = source->ptr;
  size_t len = buf_len(&s->out) < room ? buf_len(&s->out) : room;
  if (len == 0 && !s->is_half_closed) {
    s->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (len > 0)
    memcpy(out, buf_bytes(&s->out), len);
  buf_consume(&s->out, len);
  if (s->is_half_closed && buf_len(&s->out) == 0)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)len;
}

struct headers {
  nghttp2_nv nv[8 + MAX_USER_KEYS];
  size_t count;
  char timeout[GRPC_TIMEOUT_TEXT_SIZE];
  struct buf encoded[MAX_USER_KEYS]; /* base64 of "-bin" values */
  size_t encoded_count;
};

static void add_header(struct headers *h, struct str name, struct str value) {
  h->nv[h->count++] = (nghttp2_nv){
      .name = (uint8_t *)name.data,
      .namelen = name.len,
      .value = (uint8_t *)value.data,
      .valuelen = value.len,
  };
}

static void add_text(struct headers *h, const char *name, const char *value) {
  add_header(h, str_z(name), str_z(value));
}

static bool add_metadata(struct headers *h, const struct auditstore_metadata *m) {
  struct str key = str_z(m->key);
  if (!grpc_metadata_key_is_valid(key))
    return false;
  if (key.len < 4 || memcmp(key.data + key.len - 4, "-bin", 4) != 0) {
    for (size_t i = 0; i < m->value_len; i++)
      if (m->value[i] < 0x20 || m->value[i] > 0x7e)
        return false;
    add_header(h, key, str_of(m->value, m->value_len));
    return true;
  }
  struct buf *encoded = &h->encoded[h->encoded_count++];
  buf_init(encoded, 64 * 1024);
  if (!grpc_base64_encode(str_of(m->value, m->value_len), encoded))
    return false;
  add_header(h, key, str_of(buf_bytes(encoded), buf_len(encoded)));
  return true;
}

static void add_standard(struct headers *h, const struct auditstore_stream *s) {
  add_text(h, ":method", "POST");
  add_text(h, ":scheme", "http");
  add_text(h, ":path", s->method->path);
  add_text(h, ":authority", s->channel->authority);
  add_text(h, "content-type", "application/grpc");
  add_text(h, "te", "trailers");
  add_text(h, "user-agent", s->channel->user_agent);
  if (s->deadline_us == NEVER)
    return;
  int64_t left = s->deadline_us - monotonic_us();
  grpc_timeout_format(left > 0 ? left : 0, h->timeout);
  add_text(h, "grpc-timeout", h->timeout);
}

static bool add_all_metadata(struct headers *h, const struct auditstore_call_options *options) {
  if (!options || options->metadata_count == 0)
    return true;
  if (options->metadata_count > MAX_USER_KEYS)
    return false;
  for (size_t i = 0; i < options->metadata_count; i++)
    if (!add_metadata(h, &options->metadata[i]))
      return false;
  return true;
}

int call_submit(struct auditstore_stream *s, const struct auditstore_call_options *options) {
  struct headers *h = calloc(1, sizeof(*h));
  if (!h) {
    status_set(&s->status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return -1;
  }
  add_standard(h, s);
  int32_t id = -1;
  if (!add_all_metadata(h, options)) {
    status_set(&s->status, AUDITSTORE_INVALID_ARGUMENT,
               "metadata: keys are [0-9a-z_.-]+ without reserved names, values printable ASCII, at "
               "most %d of them",
               MAX_USER_KEYS);
  } else {
    const nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_request};
    id = nghttp2_submit_request(s->channel->session, NULL, h->nv, h->count, &provider, s);
    if (id < 0)
      status_set(&s->status, AUDITSTORE_UNAVAILABLE, "%s", nghttp2_strerror(id));
  }
  for (size_t i = 0; i < h->encoded_count; i++)
    buf_deinit(&h->encoded[i]);
  free(h);
  if (id < 0)
    return -1;
  s->id = id;
  list_push_back(&s->channel->calls, &s->link);
  return 0;
}
