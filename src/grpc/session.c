#include "grpc/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "grpc/call.h"

#define MAX_HEADER_LIST_BYTES 16384
#define MAX_CONTINUATIONS     8
#define FIRST_EXTENSION_TYPE  10
/* nghttp2's own limit (1000, then 33 a second) ends connections of honest clients that cancel. */
#define MIN_RESET_BURST        5000
#define RESET_BURST_PER_STREAM 20
#define RESETS_PER_SECOND      1000
/* Frames that bring nothing: what the peer may send beyond what messages and answers pay for. */
#define IDLE_FRAME_BURST       10000
#define IDLE_FRAMES_PER_SECOND 1000
#define IDLE_FRAME_BYTES       64
#define BAD_RESET_BURST        100
#define BAD_RESETS_PER_SECOND  10
#define GOAWAY_DELAY_US        1000000

static const uint8_t drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

static const char http1_answer[] =
    "HTTP/1.1 400 Bad Request\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 56\r\n"
    "Connection: close\r\n"
    "\r\n"
    "This port speaks gRPC: HTTP/2 with prior knowledge only\n";

static struct grpc_call *call_of(nghttp2_session *h2, int32_t stream_id) {
  return nghttp2_session_get_stream_user_data(h2, stream_id);
}

/* ---- frames received ---- */

static bool is_idle_frame(const nghttp2_frame_hd *hd) {
  if (hd->length >= IDLE_FRAME_BYTES || hd->type == NGHTTP2_RST_STREAM)
    return false;
  if (hd->type == NGHTTP2_DATA)
    return !(hd->flags & NGHTTP2_FLAG_END_STREAM);
  return hd->type != NGHTTP2_HEADERS;
}

static int on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *hd, void *user) {
  struct grpc_session *session = user;
  (void)h2;
  if (!is_idle_frame(hd) || bucket_take(&session->idle_frames, session->now_us))
    return 0;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  session->header_call = NULL;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return 0;
  int32_t id = frame->hd.stream_id;
  struct grpc_call *call = grpc_call_new(session, id);
  nghttp2_session_set_stream_user_data(h2, id, call);
  /* Without this, where priorities aren't RFC 7540's, one endless stream would starve the others.
   */
  const nghttp2_extpri incremental = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  (void)nghttp2_session_change_extpri_stream_priority(h2, id, &incremental, 1);
  session->header_call = call;
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user) {
  struct grpc_session *session = user;
  (void)h2;
  (void)flags;
  if (session->header_call && session->header_call->stream_id == frame->hd.stream_id)
    grpc_headers_take(session->header_call, str_of(name, name_len), str_of(value, value_len));
  return 0;
}

static void headers_received(struct grpc_session *session, const nghttp2_frame *frame) {
  struct grpc_call *call = session->header_call;
  session->header_call = NULL;
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST && call)
    grpc_headers_complete(call);
}

static void ping_received(struct grpc_session *session, const nghttp2_frame *frame) {
  bool is_ours = (frame->hd.flags & NGHTTP2_FLAG_ACK) &&
                 memcmp(frame->ping.opaque_data, drain_ping, sizeof(drain_ping)) == 0;
  if (is_ours && session->goaway_deadline_us != CLOCK_NEVER)
    session->goaway_deadline_us = session->now_us;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  uint8_t type = frame->hd.type;
  if (type == NGHTTP2_HEADERS)
    headers_received(session, frame);
  else if (type == NGHTTP2_PING)
    ping_received(session, frame);
  else if (type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
    session->handshake_deadline_us = CLOCK_NEVER;
  if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) &&
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
    struct grpc_call *call = call_of(h2, frame->hd.stream_id);
    if (call)
      grpc_receive_half_close(call);
  }
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t len, void *user) {
  struct grpc_call *call = call_of(h2, stream_id);
  (void)flags;
  (void)user;
  (void)nghttp2_session_consume_connection(h2, len);
  if (call)
    grpc_receive_data(call, data, len);
  else
    (void)nghttp2_session_consume_stream(h2, stream_id, len);
  return 0;
}

/* Extensions are ignored, as HTTP/2 demands, but counted by on_begin_frame. */
static int ignore_extension(nghttp2_session *h2, void **payload, const nghttp2_frame_hd *hd,
                            void *user) {
  (void)h2;
  (void)payload;
  (void)hd;
  (void)user;
  return NGHTTP2_ERR_CANCEL;
}

/* ---- frames sent, streams closed ---- */

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  int32_t id = frame->hd.stream_id;
  switch (frame->hd.type) {
  case NGHTTP2_DATA:
  case NGHTTP2_HEADERS:
    /* Answers pay for the pings and window updates that they cause. */
    bucket_put(&session->idle_frames, 2);
    /* The answer is complete and the request isn't: tell the peer that nobody reads the rest. Any
     * earlier, the reset would take the trailers' place. */
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(h2, id) == 0)
      (void)nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    break;
  case NGHTTP2_RST_STREAM: {
    uint32_t code = frame->rst_stream.error_code;
    bool is_bad =
        code != NGHTTP2_NO_ERROR && code != NGHTTP2_REFUSED_STREAM && code != NGHTTP2_CANCEL;
    if (is_bad && !bucket_take(&session->bad_resets, session->now_us))
      session->is_failed = true;
    break;
  }
  default:
    break;
  }
  return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code,
                           void *user) {
  struct grpc_session *session = user;
  struct grpc_call *call = call_of(h2, stream_id);
  (void)error_code;
  if (!call)
    return 0;
  if (session->header_call == call)
    session->header_call = NULL;
  nghttp2_session_set_stream_user_data(h2, stream_id, NULL);
  grpc_call_stream_closed(call);
  return 0;
}

/* ---- the connection ---- */

static void fail_session(struct grpc_session *session, uint32_t error_code) {
  log_info("connection ended", KV("peer", net_conn_peer(session->conn)),
           KV("reason", nghttp2_http2_strerror(error_code)));
  session->is_failed = true;
  (void)nghttp2_session_terminate_session(session->h2, error_code);
  net_conn_pause_read(session->conn);
  net_conn_want_write(session->conn);
}

static int receive_failed(struct grpc_session *session, int rc) {
  switch (rc) {
  case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
    if (session->first_byte < 'A' || session->first_byte > 'Z')
      return -1;
    session->is_http1 = true;
    net_conn_pause_read(session->conn);
    net_conn_want_write(session->conn);
    return 0;
  case NGHTTP2_ERR_CALLBACK_FAILURE:
  case NGHTTP2_ERR_FLOODED:
    fail_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  case NGHTTP2_ERR_NOMEM:
    fail_session(session, NGHTTP2_INTERNAL_ERROR);
    return 0;
  default:
    fail_session(session, NGHTTP2_PROTOCOL_ERROR);
    return 0;
  }
}

static int on_read(void *user, const uint8_t *data, size_t len) {
  struct grpc_session *session = user;
  session->now_us = clock_monotonic_us(session->server->loop->clock);
  if (!session->first_byte)
    session->first_byte = (char)data[0];
  ssize_t n = nghttp2_session_mem_recv(session->h2, data, len);
  if (n < 0)
    return receive_failed(session, (int)n);
  if (!session->header_call)
    session->header_deadline_us = CLOCK_NEVER;
  else if (session->header_deadline_us == CLOCK_NEVER)
    session->header_deadline_us = session->now_us + session->server->config->handshake_timeout_us;
  if (session->goaway_deadline_us <= session->now_us)
    grpc_session_tick(session, session->now_us);
  net_conn_want_write(session->conn);
  return 0;
}

static int gather(struct grpc_session *session, struct buf *out) {
  while (buf_len(out) < NET_WRITE_GATHER_BYTES) {
    const uint8_t *data = NULL;
    ssize_t n = nghttp2_session_mem_send(session->h2, &data);
    if (n < 0)
      return -1;
    if (n == 0)
      return 0;
    if (!buf_append(out, data, (size_t)n))
      return -1;
  }
  return 0;
}

static int on_produce(void *user, struct buf *out) {
  struct grpc_session *session = user;
  if (session->is_http1) {
    (void)buf_append(out, http1_answer, sizeof(http1_answer) - 1);
    return -1;
  }
  session->now_us = clock_monotonic_us(session->server->loop->clock);
  bool was_failed = session->is_failed;
  if (gather(session, out) != 0)
    return -1;
  if (session->is_failed && !was_failed) {
    fail_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    (void)gather(session, out);
  }
  if (buf_len(out) >= NET_WRITE_GATHER_BYTES)
    return 0;
  bool is_over =
      !nghttp2_session_want_read(session->h2) && !nghttp2_session_want_write(session->h2);
  return session->is_failed || is_over ? -1 : 0;
}

static void on_close(void *user, const char *reason) {
  struct grpc_session *session = user;
  struct grpc_server *server = session->server;
  log_debug("connection closed", KV("peer", net_conn_peer(session->conn)), KV("reason", reason),
            KV("open_calls", session->calls.count));
  while (session->calls.first)
    grpc_call_conn_lost(LIST_ENTRY(session->calls.first, struct grpc_call, link));
  nghttp2_session_del(session->h2);
  list_remove(&server->sessions, &session->link);
  free(session);
  grpc_server_check_drained(server);
}

/* ---- life cycle ---- */

static void submit_settings(struct grpc_session *session) {
  const struct config_server *config = session->server->config;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)config->max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)config->stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST_BYTES},
  };
  (void)nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0]));
  (void)nghttp2_session_set_local_window_size(session->h2, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)config->connection_window_bytes);
}

void grpc_session_accept(void *user, struct net_conn *conn) {
  static const struct net_conn_ops ops = {on_read, on_produce, on_close};
  struct grpc_server *server = user;
  struct grpc_session *session = xcalloc(1, sizeof(*session));
  session->server = server;
  session->conn = conn;
  session->now_us = clock_monotonic_us(server->loop->clock);
  session->handshake_deadline_us = session->now_us + server->config->handshake_timeout_us;
  session->header_deadline_us = CLOCK_NEVER;
  session->goaway_deadline_us = CLOCK_NEVER;
  bucket_init(&session->idle_frames, IDLE_FRAME_BURST, IDLE_FRAMES_PER_SECOND, session->now_us);
  bucket_init(&session->bad_resets, BAD_RESET_BURST, BAD_RESETS_PER_SECOND, session->now_us);
  int rc = nghttp2_session_server_new2(&session->h2, server->callbacks, session, server->options);
  list_push_back(&server->sessions, &session->link);
  net_conn_start(conn, &ops, session);
  log_debug("connection accepted", KV("peer", net_conn_peer(conn)));
  if (rc != 0) {
    net_conn_close(conn, false, "out of memory");
    return;
  }
  /* Queued, and sent once the peer turned out to speak HTTP/2: another gets an answer it can read.
   */
  submit_settings(session);
  grpc_server_start_tick(server);
}

nghttp2_option *grpc_session_options(const struct config_server *config) {
  nghttp2_option *options = NULL;
  if (nghttp2_option_new(&options) != 0)
    abort();
  uint64_t burst = (uint64_t)config->max_concurrent_streams * RESET_BURST_PER_STREAM;
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_stream_reset_rate_limit(
      options, burst > MIN_RESET_BURST ? burst : MIN_RESET_BURST, RESETS_PER_SECOND);
  /* gRPC has such blanks stripped, where HTTP/2 would drop the field. */
  nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options, 1);
  nghttp2_option_set_max_continuations(options, MAX_CONTINUATIONS);
  for (int type = FIRST_EXTENSION_TYPE; type <= UINT8_MAX; type++)
    nghttp2_option_set_user_recv_extension_type(options, (uint8_t)type);
  return options;
}

nghttp2_session_callbacks *grpc_session_callbacks(void) {
  nghttp2_session_callbacks *callbacks = NULL;
  if (nghttp2_session_callbacks_new(&callbacks) != 0)
    abort();
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
  nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, ignore_extension);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  return callbacks;
}

/* ---- draining, slowness ---- */

void grpc_session_drain(struct grpc_session *session) {
  session->now_us = clock_monotonic_us(session->server->loop->clock);
  session->goaway_deadline_us = session->now_us + GOAWAY_DELAY_US;
  (void)nghttp2_submit_shutdown_notice(session->h2);
  (void)nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, drain_ping);
  for (struct list_link *link = session->calls.first; link; link = link->next)
    grpc_call_drain(LIST_ENTRY(link, struct grpc_call, link));
  net_conn_want_write(session->conn);
}

void grpc_session_cut(struct grpc_session *session) {
  net_conn_close(session->conn, false, "the server stopped");
}

static void submit_goaway(struct grpc_session *session) {
  session->goaway_deadline_us = CLOCK_NEVER;
  (void)nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session->h2),
                              NGHTTP2_NO_ERROR, NULL, 0);
  net_conn_want_write(session->conn);
}

void grpc_session_tick(struct grpc_session *session, int64_t now_us) {
  session->now_us = now_us;
  if (session->handshake_deadline_us <= now_us)
    net_conn_close(session->conn, false, "sent no HTTP/2 settings in time");
  else if (session->header_deadline_us <= now_us)
    net_conn_close(session->conn, false, "sent half a header block");
  if (session->goaway_deadline_us <= now_us)
    submit_goaway(session);
  for (struct list_link *link = session->calls.first; link; link = link->next)
    grpc_call_tick(LIST_ENTRY(link, struct grpc_call, link), now_us);
}
