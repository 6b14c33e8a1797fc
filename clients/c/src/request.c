/* One call's request: its headers and its bytes. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_METADATA 64
/* Of all names and values; servers accept little more. */
#define MAX_METADATA_BYTES ((size_t)16 * 1024)
#define STANDARD_HEADERS   8

/* The call is found by the stream, not by the source: it may have ended meanwhile. */
/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *arg) {
  (void)source;
  (void)arg;
  struct auditstore_stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
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
  nghttp2_nv nv[STANDARD_HEADERS + MAX_METADATA];
  size_t count;
  size_t metadata_bytes;
  char timeout[GRPC_TIMEOUT_TEXT_SIZE];
  struct buf encoded[MAX_METADATA]; /* base64 of "-bin" values */
  size_t encoded_count;
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

static bool is_printable(struct str value) {
  for (size_t i = 0; i < value.len; i++)
    if (value.data[i] < 0x20 || value.data[i] > 0x7e)
      return false;
  return true;
}

/* Points *value at its base64, which `h` owns. */
static bool encode_value(struct headers *h, struct str *value) {
  struct buf *encoded = &h->encoded[h->encoded_count++];
  buf_init(encoded, MAX_METADATA_BYTES);
  if (!grpc_base64_encode(*value, encoded))
    return false;
  *value = str_of(buf_bytes(encoded), buf_len(encoded));
  return true;
}

static bool add_metadata(struct headers *h, const struct auditstore_metadata *m) {
  struct str key = str_z(m->key);
  struct str value = str_of(m->value, m->value_len);
  if (!grpc_metadata_key_is_valid(key))
    return false;
  bool is_binary = key.len > 4 && memcmp(key.data + key.len - 4, "-bin", 4) == 0;
  if (is_binary ? !encode_value(h, &value) : !is_printable(value))
    return false;
  h->metadata_bytes += key.len + value.len;
  /* May be secret, and rarely comes twice: not for the compression table. */
  add_header(h, key, value, NGHTTP2_NV_FLAG_NO_INDEX);
  return h->metadata_bytes <= MAX_METADATA_BYTES;
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
  add_header(h, str_z("grpc-timeout"), str_z(h->timeout), NGHTTP2_NV_FLAG_NO_INDEX);
}

static bool add_all_metadata(struct headers *h, const struct auditstore_call_options *options) {
  if (options->metadata_count > MAX_METADATA)
    return false;
  for (size_t i = 0; i < options->metadata_count; i++)
    if (!add_metadata(h, &options->metadata[i]))
      return false;
  return true;
}

static void headers_free(struct headers *h) {
  for (size_t i = 0; i < h->encoded_count; i++)
    buf_deinit(&h->encoded[i]);
  free(h);
}

/* Returns the stream's id; negative: s->status says why not. */
static int32_t submit(struct auditstore_stream *s, struct link *l, struct headers *h,
                      const struct auditstore_call_options *options) {
  add_standard(h, s);
  if (!add_all_metadata(h, options)) {
    status_set(&s->status, AUDITSTORE_INVALID_ARGUMENT,
               "metadata: keys are [0-9a-z_.-]+ without reserved names, values printable ASCII, at "
               "most %d of them and %zu bytes together",
               MAX_METADATA, MAX_METADATA_BYTES);
    return -1;
  }
  const nghttp2_data_provider provider = {.read_callback = read_request};
  int32_t id = nghttp2_submit_request(l->session, NULL, h->nv, h->count, &provider, s);
  if (id == NGHTTP2_ERR_NOMEM)
    status_set(&s->status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  else if (id < 0)
    status_set(&s->status, AUDITSTORE_UNAVAILABLE, "%s", nghttp2_strerror(id));
  return id;
}

int call_submit(struct auditstore_stream *s, struct link *l,
                const struct auditstore_call_options *options) {
  struct headers *h = calloc(1, sizeof(*h));
  if (!h) {
    status_set(&s->status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return -1;
  }
  int32_t id = submit(s, l, h, options);
  headers_free(h);
  if (id < 0)
    return -1;
  s->id = id;
  s->link = l;
  list_push_back(&l->calls, &s->entry);
  return 0;
}
