/* One call's request: its headers and its bytes. */
#include "internal.h"

#include <string.h>

#define STANDARD_HEADERS 12
#define MAX_HEADERS      (STANDARD_HEADERS + 2 * MAX_METADATA)
/* Of a stream, so much of what was sent is kept for another attempt. */
#define KEPT_BYTES ((size_t)256 * 1024)
/* ---- messages ---- */

static void count_taken(struct auditstore_stream *s, size_t len) {
  s->out_taken += len;
  if (s->is_committed || (!s->is_unary && s->out_taken > KEPT_BYTES))
    call_commit(s);
}

/* The call is found by the stream, not by the source: it may have ended meanwhile. */
/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *arg) {
  (void)source;
  (void)arg;
  struct auditstore_stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  size_t left = buf_len(&s->out) - s->out_taken;
  size_t len = left < room ? left : room;
  if (len == 0 && !s->is_half_closed) {
    s->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (len > 0)
    memcpy(out, buf_bytes(&s->out) + s->out_taken, len);
  count_taken(s, len);
  if (s->is_half_closed && len == left)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)len;
}

/* ---- headers ---- */

struct headers {
  nghttp2_nv nv[MAX_HEADERS];
  size_t count;
  char timeout[GRPC_TIMEOUT_TEXT_SIZE];
  char attempts[2];
};

static void add_header(struct headers *h, struct str name, struct str value, uint8_t flags) {
  h->nv[h->count++] = (nghttp2_nv){
      .name = (uint8_t *)name.data,
      .namelen = name.len,
      .value = (uint8_t *)value.data,
      .valuelen = value.len,
      .flags = flags,
  };
}

static void add_text(struct headers *h, const char *name, const char *value) {
  add_header(h, str_z(name), str_z(value), NGHTTP2_NV_FLAG_NONE);
}

/* Text that may be secret, or rarely comes twice: not for the compression table. */
static void add_rare(struct headers *h, struct str name, struct str value) {
  add_header(h, name, value, NGHTTP2_NV_FLAG_NO_INDEX);
}

static void add_metadata(struct headers *h, const struct metadata *m) {
  const uint8_t *at = buf_bytes(&m->bytes);
  for (size_t i = 0; i < m->count; i++) {
    struct str key = str_of(at, m->entries[i].key_len);
    struct str value = str_of(at + key.len, m->entries[i].value_len);
    add_rare(h, key, value);
    at += key.len + value.len;
  }
}

static void add_standard(struct headers *h, const struct auditstore_stream *s,
                         const struct link *l) {
  add_text(h, ":method", "POST");
  add_text(h, ":scheme", l->tls ? "https" : "http");
  add_text(h, ":path", s->method->path);
  add_text(h, ":authority", l->target->authority);
  add_text(h, "content-type", "application/grpc");
  add_text(h, "te", "trailers");
  add_text(h, "user-agent", s->channel->user_agent);
  if (s->deadline_us != NEVER) {
    int64_t left = s->deadline_us - monotonic_us();
    grpc_timeout_format(left > 0 ? left : 0, h->timeout);
    add_rare(h, str_z("grpc-timeout"), str_z(h->timeout));
  }
  add_text(h, "grpc-accept-encoding", "identity,gzip");
  if (s->compresses)
    add_text(h, "grpc-encoding", "gzip");
  if (s->retry.attempts > 0) {
    h->attempts[0] = (char)('0' + s->retry.attempts);
    add_text(h, "grpc-previous-rpc-attempts", h->attempts);
  }
}

int call_submit(struct auditstore_stream *s, struct link *l) {
  const nghttp2_data_provider provider = {.read_callback = read_request};
  struct headers h = {.count = 0};
  struct str token = {0};
  if (!token_header(&s->channel->token, &token, &s->status))
    return -1;
  add_standard(&h, s, l);
  if (token.data)
    add_rare(&h, str_z("authorization"), token);
  add_metadata(&h, &s->channel->metadata);
  add_metadata(&h, &s->metadata);
  int32_t id = nghttp2_submit_request(l->session, NULL, h.nv, h.count, &provider, s);
  if (id >= 0) {
    s->id = id;
    return 0;
  }
  if (id == NGHTTP2_ERR_NOMEM)
    status_set(&s->status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  else
    status_set(&s->status, AUDITSTORE_UNAVAILABLE, "%s", nghttp2_strerror(id));
  return -1;
}
