#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "grpc/call.h"
#include "grpc/gzip.h"

/* Stock clients accept 8 KiB of headers. */
#define MAX_TRAILER_BYTES 8192
#define HEADER_OVERHEAD   32
/* Of the handler's metadata, headers and trailers each. */
#define MAX_METADATA_BYTES  4096
#define MAX_METADATA_FIELDS 32
#define MAX_HEADERS         (4 + MAX_METADATA_FIELDS)
#define MAX_TRAILERS        (3 + MAX_METADATA_FIELDS)
/* :status, content-type, grpc-accept-encoding and grpc-status with their overhead, and some room.
 */
#define FIXED_TRAILER_BYTES 300
/* A byte of invalid UTF-8 becomes nine; and the details. */
#define STATUS_TEXT_MAX_BYTES ((size_t)10 * MAX_TRAILER_BYTES)
/* A queue that a handler filled without asking grpc_call_is_writable(). */
#define TX_MAX_BYTES ((size_t)64 * 1024 * 1024)
/* grpc_call_is_writable() turns false above the first and is reported true below the second. */
#define TX_FULL_BYTES ((size_t)256 * 1024)
#define TX_LOW_BYTES  ((size_t)128 * 1024)
/* A queue that was emptied keeps no more than this. */
#define TX_KEEP_BYTES ((size_t)16 * 1024)
/* Of all calls of one connection: above it, a call that has something queued already isn't
 * writable.
 */
#define SESSION_TX_FULL_BYTES ((size_t)1024 * 1024)
#define PAGE_MAX_BYTES        ((size_t)16 * 1024)

static const char *const code_texts[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                         "9", "10", "11", "12", "13", "14", "15", "16"};

/* ---- header fields ---- */

/* nghttp2 takes both without copying: they are constants, or live as long as the call. */
static nghttp2_nv constant(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                      NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* A text that hardly comes twice: kept out of the compression table. */
static nghttp2_nv unique(const char *name, const uint8_t *value, size_t len) {
  return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), len,
                      NGHTTP2_NV_FLAG_NO_INDEX | NGHTTP2_NV_FLAG_NO_COPY_NAME |
                          NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static size_t put_metadata(const struct grpc_metadata *m, nghttp2_nv *nv) {
  struct str key;
  struct str value;
  size_t count = 0;
  for (size_t offset = 0; grpc_metadata_next(m, &offset, &key, &value);)
    nv[count++] = (nghttp2_nv){(uint8_t *)key.data, (uint8_t *)value.data, key.len, value.len,
                               NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
  return count;
}

static bool is_public(const struct grpc_call *call) {
  return call->request.route && call->request.route->is_public;
}

static size_t put_headers(const struct grpc_call *call, const char *http_status, nghttp2_nv *nv) {
  bool echoes_proto = call->request.type == TYPE_GRPC_PROTO;
  nv[0] = constant(":status", http_status);
  nv[1] = constant("content-type", echoes_proto ? "application/grpc+proto" : "application/grpc");
  nv[2] = constant("grpc-accept-encoding", is_public(call) ? "identity" : "identity,gzip");
  size_t count = 3;
  if (call->may_compress)
    nv[count++] = constant("grpc-encoding", "gzip");
  return count + put_metadata(&call->headers, nv + count);
}

static size_t put_trailers(const struct grpc_call *call, nghttp2_nv *nv) {
  size_t count = 0;
  nv[count++] = constant("grpc-status", code_texts[call->code]);
  size_t len = call->status_message_len;
  size_t details_len = buf_len(&call->status_text) - len;
  if (len > 0)
    nv[count++] = unique("grpc-message", buf_bytes(&call->status_text), len);
  if (details_len > 0)
    nv[count++] =
        unique("grpc-status-details-bin", buf_bytes(&call->status_text) + len, details_len);
  return count + put_metadata(&call->trailers, nv + count);
}

/* ---- metadata ---- */

static size_t metadata_cost(const struct grpc_metadata *m) {
  struct str key;
  struct str value;
  size_t cost = 0;
  for (size_t offset = 0; grpc_metadata_next(m, &offset, &key, &value);)
    cost += key.len + value.len + HEADER_OVERHEAD;
  return cost;
}

static bool add_metadata(struct grpc_metadata *m, struct str key, struct str value) {
  size_t cost = key.len + value.len * 4 / 3 + HEADER_OVERHEAD;
  return m->count < MAX_METADATA_FIELDS && metadata_cost(m) + cost <= MAX_METADATA_BYTES &&
         grpc_metadata_put(m, key, value);
}

bool grpc_call_add_header(struct grpc_call *call, struct str key, struct str value) {
  return !call->is_response_started && !call->is_ended && add_metadata(&call->headers, key, value);
}

bool grpc_call_add_trailer(struct grpc_call *call, struct str key, struct str value) {
  return !call->is_ended && add_metadata(&call->trailers, key, value);
}

void grpc_call_send_headers(struct grpc_call *call) {
  if (call->is_stream_open && !call->is_ended && !call->is_response_started)
    grpc_respond(call);
}

void grpc_call_hold_headers(struct grpc_call *call) {
  call->holds_headers = true;
}

/* ---- the status ---- */

static struct budget *answers_of(const struct grpc_call *call) {
  return &call->account->kinds[GRPC_MEMORY_ANSWERS];
}

static size_t trailer_budget(const struct grpc_call *call) {
  uint32_t peer =
      nghttp2_session_get_remote_settings(call->session->h2, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
  size_t budget = peer < MAX_TRAILER_BYTES ? peer : MAX_TRAILER_BYTES;
  size_t fixed = FIXED_TRAILER_BYTES + metadata_cost(&call->trailers);
  if (!call->is_response_started)
    fixed += metadata_cost(&call->headers);
  return budget > fixed ? budget - fixed : 0;
}

/* Cuts the encoded text to `max` bytes, not within an escape nor within a UTF-8 character, whose
 * later bytes are escapes of 10xxxxxx: %80 to %BF. */
static void cut_message(struct buf *text, size_t max) {
  const char *bytes = (const char *)buf_bytes(text);
  size_t len = max;
  for (size_t back = 1; back <= 2 && back <= len; back++) {
    if (bytes[len - back] == '%') {
      len -= back;
      break;
    }
  }
  while (len >= 3 && bytes[len] == '%' && strchr("89AB", bytes[len + 1]) && bytes[len - 3] == '%')
    len -= 3;
  text->end = text->start + len;
}

void grpc_respond_set_status(struct grpc_call *call, enum grpc_code code, struct str message,
                             struct str details) {
  struct buf *text = &call->status_text;
  call->code = code;
  if (message.len == 0 && details.len == 0)
    return;
  size_t budget = trailer_budget(call);
  struct str source = str_of(message.data, message.len < budget ? message.len : budget);
  buf_init_counted(text, STATUS_TEXT_MAX_BYTES, answers_of(call));
  (void)grpc_message_encode(source, text);
  if (buf_len(text) > budget)
    cut_message(text, budget);
  call->status_message_len = buf_len(text);
  size_t details_cost =
      strlen("grpc-status-details-bin") + HEADER_OVERHEAD + (details.len + 2) / 3 * 4;
  if (details.len > 0 && buf_len(text) + details_cost <= budget)
    (void)grpc_base64_encode(details, text);
}

/* ---- what is queued ---- */

void grpc_respond_count(struct grpc_call *call) {
  size_t len = buf_len(&call->tx);
  if (call->session)
    call->session->tx_bytes += len - call->tx_counted;
  call->tx_counted = len;
}

/* An empty queue always has room, so that streams whose peer doesn't take their answers can't shut
 * out others of their connection; but not where anybody may ask. */
static bool has_room(const struct grpc_call *call, size_t full_bytes) {
  size_t len = buf_len(&call->tx);
  bool is_crowded = call->session && call->session->tx_bytes > SESSION_TX_FULL_BYTES;
  return (len == 0 && !is_public(call)) || (len <= full_bytes && !is_crowded);
}

bool grpc_call_is_writable(struct grpc_call *call) {
  bool is_writable = has_room(call, TX_FULL_BYTES);
  call->was_full |= !is_writable;
  return is_writable;
}

/* ---- the data provider ---- */

/* Follows where messages end in what nghttp2 takes, to know whether one is half sent. */
static void note_taken(struct grpc_call *call, size_t len) {
  const uint8_t *p = buf_bytes(&call->tx);
  assert(p);
  while (len > 0) {
    if (call->tx_left == 0)
      call->tx_left =
          GRPC_PREFIX_BYTES + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
    size_t n = call->tx_left < len ? call->tx_left : len;
    call->tx_left -= n;
    p += n;
    len -= n;
  }
}

static void submit_trailers(struct grpc_call *call) {
  nghttp2_nv nv[MAX_TRAILERS];
  size_t count = put_trailers(call, nv);
  call->has_trailers = true;
  (void)nghttp2_submit_trailer(call->session->h2, call->stream_id, nv, count);
}

/* The usual place for trailers: nghttp2 sends those submitted earlier before the data that is still
 * queued. */
static void finish_data(struct grpc_call *call, uint32_t *flags) {
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (call->is_page)
    return;
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  if (!call->has_trailers)
    submit_trailers(call);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_tx(nghttp2_session *h2, int32_t stream_id, uint8_t *out, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *user) {
  struct grpc_call *call = source->ptr;
  (void)h2;
  (void)stream_id;
  (void)user;
  size_t queued = buf_len(&call->tx);
  size_t n = queued < size ? queued : size;
  if (n > 0) {
    if (!call->is_page)
      note_taken(call, n);
    memcpy(out, buf_bytes(&call->tx), n);
    buf_consume(&call->tx, n);
    if (n == queued && call->tx.cap > TX_KEEP_BYTES)
      buf_deinit(&call->tx);
    grpc_respond_count(call);
    call->progress_us = call->session->now_us;
  }
  if (call->was_full && has_room(call, TX_LOW_BYTES)) {
    call->was_full = false;
    grpc_call_post(call, EVENT_WRITABLE);
  }
  if (n == queued && call->is_ended)
    finish_data(call, flags);
  else if (n == 0) {
    call->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return (ssize_t)n;
}

/* ---- starting, waking up ---- */

void grpc_respond_trailers_now(struct grpc_call *call) {
  if (call->has_trailers)
    return;
  submit_trailers(call);
  net_conn_want_write(call->session->conn);
}

static void submit(struct grpc_call *call, const nghttp2_nv *nv, size_t count, bool has_data) {
  const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_tx};
  call->is_response_started = true;
  int rc = nghttp2_submit_response(call->session->h2, call->stream_id, nv, count,
                                   has_data ? &provider : NULL);
  if (rc != 0)
    grpc_call_reset(call, NGHTTP2_INTERNAL_ERROR);
}

/* Of any message to come. */
static bool wants_compression(const struct grpc_call *call) {
  bool is_set = call->server->config->compress_answers_above != CLOCK_NEVER;
  return call->request.accepts_gzip && !is_public(call) && call->compression != COMPRESS_OFF &&
         (call->compression == COMPRESS_ON || is_set);
}

/* Without messages the headers are the trailers ("Trailers-Only"), which clients may retry on. */
static void start(struct grpc_call *call, const char *http_status) {
  nghttp2_nv nv[MAX_HEADERS + MAX_TRAILERS];
  bool is_trailers_only = call->is_ended && buf_len(&call->tx) == 0 && call->headers.count == 0;
  call->may_compress = !is_trailers_only && wants_compression(call);
  size_t count = put_headers(call, http_status, nv);
  if (is_trailers_only) {
    count += put_trailers(call, nv + count);
    call->has_trailers = true;
  }
  submit(call, nv, count, !is_trailers_only);
}

void grpc_respond(struct grpc_call *call) {
  if (!call->is_response_started) {
    start(call, "200");
  } else if (call->is_deferred) {
    call->is_deferred = false;
    (void)nghttp2_session_resume_data(call->session->h2, call->stream_id);
  }
  net_conn_want_write(call->session->conn);
}

void grpc_respond_http(struct grpc_call *call, const char *http_status, enum grpc_code code,
                       const char *message) {
  call->is_ended = true;
  grpc_respond_set_status(call, code, str_z(message), str_of(NULL, 0));
  start(call, http_status);
}

static void put_page(const struct grpc_server *server, struct buf *page) {
  (void)buf_append_format(page, "%s\nServices:\n", server->about);
  for (size_t i = 0; i < server->service_count; i++) {
    const struct grpc_service *service = server->services[i].service;
    (void)buf_append_format(page, "\n  %s\n", service->name);
    for (size_t k = 0; k < service->method_count; k++)
      (void)buf_append_format(page, "    %s\n", service->methods[k].name);
  }
}

void grpc_respond_page(struct grpc_call *call) {
  const nghttp2_nv nv[] = {constant(":status", "200"),
                           constant("content-type", "text/plain; charset=utf-8")};
  call->is_ended = true;
  buf_init_counted(&call->tx, PAGE_MAX_BYTES, answers_of(call));
  put_page(call->server, &call->tx);
  grpc_respond_count(call);
  submit(call, nv, 2, true);
}

/* ---- messages ---- */

static void write_prefix(uint8_t *p, bool is_compressed, size_t len) {
  p[0] = is_compressed;
  p[1] = (uint8_t)(len >> 24);
  p[2] = (uint8_t)(len >> 16);
  p[3] = (uint8_t)(len >> 8);
  p[4] = (uint8_t)len;
}

static bool queue_plain(struct buf *tx, const ProtobufCMessage *message, size_t len) {
  uint8_t *p = buf_reserve(tx, GRPC_PREFIX_BYTES + len);
  if (!p)
    return false;
  write_prefix(p, false, len);
  protobuf_c_message_pack(message, p + GRPC_PREFIX_BYTES);
  buf_commit(tx, GRPC_PREFIX_BYTES + len);
  return true;
}

/* Compressed in a place of its own: its length stands in front of it. */
static bool queue_compressed(struct grpc_call *call, const ProtobufCMessage *message, size_t len) {
  uint8_t prefix[GRPC_PREFIX_BYTES];
  struct buf packed;
  struct buf body;
  buf_init_counted(&packed, len + 1, answers_of(call));
  buf_init_counted(&body, TX_MAX_BYTES, answers_of(call));
  uint8_t *bytes = buf_reserve(&packed, len + 1);
  bool ok = bytes && protobuf_c_message_pack(message, bytes) == len &&
            grpc_gzip_compress(&call->server->gzip, str_of(bytes, len), &body);
  write_prefix(prefix, true, buf_len(&body));
  ok = ok && GRPC_PREFIX_BYTES + buf_len(&body) <= TX_MAX_BYTES - buf_len(&call->tx) &&
       buf_append(&call->tx, prefix, sizeof(prefix)) &&
       buf_append(&call->tx, buf_bytes(&body), buf_len(&body));
  buf_deinit(&body);
  buf_deinit(&packed);
  return ok;
}

static bool is_compressed(const struct grpc_call *call, size_t len) {
  bool may = call->is_response_started ? call->may_compress : wants_compression(call);
  return may && (call->compression == COMPRESS_ON ||
                 (call->compression == COMPRESS_AS_SET &&
                  (int64_t)len > call->server->config->compress_answers_above));
}

/* False when the queue would pass its maximum. */
static bool queue_message(struct grpc_call *call, const ProtobufCMessage *message) {
  size_t len = protobuf_c_message_get_packed_size(message);
  if (call->tx.max_bytes == 0)
    buf_init_counted(&call->tx, TX_MAX_BYTES, answers_of(call));
  if (len > TX_MAX_BYTES)
    return false;
  return is_compressed(call, len) ? queue_compressed(call, message, len)
                                  : queue_plain(&call->tx, message, len);
}

void grpc_call_set_compression(struct grpc_call *call, bool is_on) {
  call->compression = is_on ? COMPRESS_ON : COMPRESS_OFF;
}

void grpc_call_send(struct grpc_call *call, const ProtobufCMessage *response) {
  if (call->is_ended || !call->is_stream_open)
    return;
  if (buf_len(&call->tx) == 0)
    grpc_call_touch(call);
  if (!queue_message(call, response)) {
    grpc_call_cut(call, GRPC_RESOURCE_EXHAUSTED,
                  "the server's memory for answers that wait to be taken is used up");
    return;
  }
  grpc_respond_count(call);
  grpc_memory_check_soon(&call->server->memory);
  grpc_respond(call);
}
