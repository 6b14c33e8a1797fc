#include "grpc/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log_sample.h"
#include "grpc/call.h"
#include "grpc/memory.h"

#define MAX_HEADER_LIST_BYTES 16384
#define MAX_CONTINUATIONS     8
#define FIRST_EXTENSION_TYPE  10
/* nghttp2's own limit (1000, then 33 a second) ends connections of honest clients that cancel. */
#define MIN_RESET_BURST        5000
#define RESET_BURST_PER_STREAM 20
#define RESETS_PER_SECOND      1000
/* Frames that bring nothing: what the peer may send beyond what messages and answers pay for. */
#define IDLE_FRAME_BURST       4000
#define IDLE_FRAMES_PER_SECOND 1000
#define BAD_RESET_BURST        100
#define BAD_RESETS_PER_SECOND  10
#define GOAWAY_DELAY_US        1000000
/* Of the 2^30 streams that a client can open, gone when the connection is ended: what is left is
 * more than enough for those opened until the client knows. */
#define LAST_STREAM_ID (INT32_MAX / 4 * 3)

const uint8_t grpc_session_goaway_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};
static const uint8_t keepalive_ping[8] = {'a', 'l', 'i', 'v', 'e', '?'};

static const char http1_answer[] =
    "HTTP/1.1 400 Bad Request\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 56\r\n"
    "Connection: close\r\n"
    "\r\n"
    "This port speaks gRPC: HTTP/2 with prior knowledge only\n";

/* ---- the connection ---- */

static bool is_held(const struct grpc_session *session) {
  return session->failure || session->is_http1 || session->is_shed || session->is_short_of_memory ||
         grpc_share_is_resting(&session->share);
}

/* What was read and not yet looked at goes first, in a turn of its own. */
void grpc_session_update_reading(struct grpc_session *session) {
  bool has_rest = session->is_interrupted || buf_len(&session->rest) > 0;
  bool is_paused = has_rest || is_held(session);
  if (has_rest && !is_held(session))
    loop_defer(session->server->loop, &session->rest_task);
  if (is_paused == session->is_paused)
    return;
  session->is_paused = is_paused;
  if (is_paused)
    net_conn_pause_read(session->conn);
  else
    net_conn_resume_read(session->conn);
}

/* `text` is static. */
static void fail_session(struct grpc_session *session, uint32_t error_code, const char *text) {
  session->failure = text;
  (void)nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session->h2), error_code,
                              (const uint8_t *)text, strlen(text));
  grpc_session_update_reading(session);
  net_conn_want_write(session->conn);
}

/* Whether it begins with a request line of HTTP/1: its sender can read such an answer. */
static bool is_http1(struct str data) {
  static const char version[] = " HTTP/1.";
  const char *end = memchr(data.data, '\r', data.len);
  return end && memmem(data.data, (size_t)(end - data.data), version, sizeof(version) - 1);
}

static int receive_failed(struct grpc_session *session, int rc, struct str data) {
  switch (rc) {
  case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
    if (!is_http1(data))
      return -1;
    session->is_http1 = true;
    grpc_session_update_reading(session);
    net_conn_want_write(session->conn);
    return 0;
  case NGHTTP2_ERR_CALLBACK_FAILURE:
    fail_session(session, session->failure_code, session->failure);
    return 0;
  case NGHTTP2_ERR_FLOODED:
    fail_session(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames without content");
    return 0;
  case NGHTTP2_ERR_NOMEM:
    fail_session(session, NGHTTP2_INTERNAL_ERROR, "out of memory");
    return 0;
  default:
    fail_session(session, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror(rc));
    return 0;
  }
}

/* How much of it was taken: all, unless it took long; or a negative error of nghttp2's. */
static ssize_t take_in(struct grpc_session *session, const uint8_t *data, size_t len) {
  grpc_liveness_read(&session->liveness, session->now_us);
  session->is_interrupted = false;
  return nghttp2_session_mem_recv(session->h2, data, len);
}

static void look_after(struct grpc_session *session) {
  if (!session->header_call)
    session->header_deadline_us = CLOCK_NEVER;
  else if (session->header_deadline_us == CLOCK_NEVER)
    session->header_deadline_us = session->now_us + session->server->config->handshake_timeout_us;
  if (session->goaway_deadline_us <= session->now_us || session->last_stream_id >= LAST_STREAM_ID)
    grpc_session_tick(session, session->now_us);
  grpc_memory_check(session);
  grpc_share_charge(session);
  grpc_session_update_reading(session);
  net_conn_want_write(session->conn);
}

static int on_read(void *user, const uint8_t *data, size_t len) {
  struct grpc_session *session = user;
  session->now_us = net_conn_read_began_us(session->conn);
  ssize_t n = take_in(session, data, len);
  if (n < 0)
    return receive_failed(session, (int)n, str_of(data, len));
  if ((size_t)n < len && !buf_append(&session->rest, data + n, len - (size_t)n)) {
    fail_session(session, NGHTTP2_INTERNAL_ERROR, "out of memory");
    return 0;
  }
  look_after(session);
  return 0;
}

static void on_rest(void *arg) {
  struct grpc_session *session = arg;
  if (is_held(session))
    return;
  /* Also when it is empty: nghttp2 has the end of a frame left to look at. */
  struct str rest =
      session->rest.data ? str_of(buf_bytes(&session->rest), buf_len(&session->rest)) : str_z("");
  session->now_us = clock_monotonic_us(session->server->loop->clock);
  ssize_t n = take_in(session, (const uint8_t *)rest.data, rest.len);
  if (n < 0) {
    if (receive_failed(session, (int)n, rest) != 0)
      net_conn_close(session->conn, false, "refused what the peer sent");
    return;
  }
  buf_consume(&session->rest, (size_t)n);
  if (buf_len(&session->rest) == 0)
    buf_deinit(&session->rest);
  look_after(session);
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
  bool was_failed = session->failure != NULL;
  if (gather(session, out) != 0)
    return -1;
  if (session->failure && !was_failed) {
    fail_session(session, session->failure_code, session->failure);
    (void)gather(session, out);
  }
  if (buf_len(out) >= NET_WRITE_GATHER_BYTES)
    return 0;
  bool is_over =
      !nghttp2_session_want_read(session->h2) && !nghttp2_session_want_write(session->h2);
  return session->failure || is_over ? -1 : 0;
}

static void on_close(void *user, const char *reason) {
  struct grpc_session *session = user;
  struct grpc_server *server = session->server;
  const struct log_cause cause = {.level = LOG_DEBUG,
                                  .event = "connection closed",
                                  .peer = net_conn_peer(session->conn),
                                  .detail = KV("reason", reason)};
  const struct log_kv open_calls = KV("open_calls", session->calls.count);
  log_sampled(server->loop, &cause, &open_calls, 1);
  while (session->calls.first)
    grpc_call_conn_lost(LIST_ENTRY(session->calls.first, struct grpc_call, link));
  loop_cancel(server->loop, &session->rest_task);
  buf_deinit(&session->rest);
  nghttp2_session_del(session->h2);
  list_remove(&server->sessions, &session->link);
  grpc_share_end(session);
  budget_give(&session->account->kinds[GRPC_MEMORY_CONNECTION],
              grpc_server_connection_bytes(server));
  grpc_account_release(session->account);
  free(session);
  grpc_memory_given_back(&server->memory);
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

static struct grpc_session *session_new(struct grpc_server *server, struct net_conn *conn,
                                        struct grpc_account *account) {
  struct grpc_session *session = xcalloc(1, sizeof(*session));
  session->server = server;
  session->conn = conn;
  session->account = account;
  session->rest_task.cb = on_rest;
  session->rest_task.arg = session;
  buf_init_counted(&session->rest, NET_READ_BYTES, &account->kinds[GRPC_MEMORY_CONNECTION]);
  session->now_us = clock_monotonic_us(server->loop->clock);
  session->handshake_deadline_us = session->now_us + server->config->handshake_timeout_us;
  session->header_deadline_us = CLOCK_NEVER;
  session->settings_deadline_us = CLOCK_NEVER;
  session->goaway_deadline_us = CLOCK_NEVER;
  grpc_liveness_init(&session->liveness, server->config, session->now_us);
  grpc_share_init(&session->share, session->now_us);
  bucket_init(&session->idle_frames, IDLE_FRAME_BURST, IDLE_FRAMES_PER_SECOND, session->now_us);
  bucket_init(&session->bad_resets, BAD_RESET_BURST, BAD_RESETS_PER_SECOND, session->now_us);
  list_push_back(&server->sessions, &session->link);
  return session;
}

bool grpc_session_accept(void *user, struct net_conn *conn) {
  static const struct net_conn_ops ops = {on_read, on_produce, on_close};
  struct grpc_server *server = user;
  struct grpc_account *account =
      grpc_account_open(&server->memory, grpc_server_connection_bytes(server));
  if (!account) {
    server->stats.refused_memory++;
    return false;
  }
  struct grpc_session *session = session_new(server, conn, account);
  int rc = nghttp2_session_server_new3(&session->h2, server->callbacks, session, server->options,
                                       &account->nghttp2);
  net_conn_count(conn, &account->kinds[GRPC_MEMORY_CONNECTION]);
  net_conn_start(conn, &ops, session);
  const struct log_cause cause = {
      .level = LOG_DEBUG, .event = "connection accepted", .peer = net_conn_peer(conn)};
  log_sampled(server->loop, &cause, NULL, 0);
  if (rc != 0) {
    net_conn_close(conn, false, "out of memory");
    return true;
  }
  /* Queued, and sent once the peer turned out to speak HTTP/2: another gets an answer it can read.
   */
  submit_settings(session);
  grpc_server_start_tick(server);
  return true;
}

nghttp2_option *grpc_session_options(const struct config_server *config) {
  nghttp2_option *options = NULL;
  if (nghttp2_option_new(&options) != 0)
    abort();
  uint64_t burst = (uint64_t)config->max_concurrent_streams * RESET_BURST_PER_STREAM;
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_stream_reset_rate_limit(
      options, burst > MIN_RESET_BURST ? burst : MIN_RESET_BURST, RESETS_PER_SECOND);
  nghttp2_option_set_no_http_messaging(options, 1); /* fields.h does it */
  nghttp2_option_set_max_continuations(options, MAX_CONTINUATIONS);
  for (int type = FIRST_EXTENSION_TYPE; type <= UINT8_MAX; type++)
    nghttp2_option_set_user_recv_extension_type(options, (uint8_t)type);
  return options;
}

/* ---- draining, slowness ---- */

/* Asks for no new streams, and behind the answer to the ping says which was the last: a stream that
 * was under way is neither lost nor in doubt (RFC 9113, 6.8). */
static void retire(struct grpc_session *session, const char *why) {
  if (session->goaway_text)
    return;
  session->goaway_text = why;
  session->goaway_deadline_us = session->now_us + GOAWAY_DELAY_US;
  (void)nghttp2_submit_shutdown_notice(session->h2);
  (void)nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, grpc_session_goaway_ping);
  net_conn_want_write(session->conn);
}

void grpc_session_end_streams(struct grpc_session *session) {
  for (struct list_link *link = session->calls.first; link; link = link->next)
    grpc_call_drain(LIST_ENTRY(link, struct grpc_call, link));
}

void grpc_session_drain(struct grpc_session *session) {
  session->now_us = clock_monotonic_us(session->server->loop->clock);
  retire(session, "graceful_stop");
}

void grpc_session_cut(struct grpc_session *session) {
  net_conn_close(session->conn, false, "the server stopped");
}

static void submit_goaway(struct grpc_session *session) {
  session->goaway_deadline_us = CLOCK_NEVER;
  (void)nghttp2_submit_goaway(
      session->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session->h2),
      NGHTTP2_NO_ERROR, (const uint8_t *)session->goaway_text, strlen(session->goaway_text));
  net_conn_want_write(session->conn);
}

/* A connection that we don't read can't show that it lives. */
static void tick_liveness(struct grpc_session *session) {
  if (session->is_paused)
    grpc_liveness_read(&session->liveness, session->now_us);
  switch (grpc_liveness_tick(&session->liveness, session->calls.count > 0, session->now_us)) {
  case GRPC_LIVENESS_NOTHING:
    break;
  case GRPC_LIVENESS_PING:
    (void)nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, keepalive_ping);
    net_conn_want_write(session->conn);
    break;
  case GRPC_LIVENESS_SILENT:
    net_conn_close(session->conn, false, "answered no keepalive ping");
    break;
  case GRPC_LIVENESS_IDLE:
    retire(session, "max_idle");
    break;
  case GRPC_LIVENESS_OLD:
    retire(session, "max_age");
    break;
  case GRPC_LIVENESS_GRACE:
    grpc_session_end_streams(session);
    break;
  case GRPC_LIVENESS_CUT:
    net_conn_close(session->conn, false, "its calls outlived server.max_connection_age_grace");
    break;
  }
}

static void tick_handshake(struct grpc_session *session) {
  if (session->handshake_deadline_us <= session->now_us)
    net_conn_close(session->conn, false, "sent no HTTP/2 settings in time");
  else if (session->is_paused && session->header_deadline_us != CLOCK_NEVER)
    session->header_deadline_us = session->now_us + session->server->config->handshake_timeout_us;
  else if (session->header_deadline_us <= session->now_us)
    net_conn_close(session->conn, false, "sent half a header block");
  else if (session->settings_deadline_us <= session->now_us) {
    session->settings_deadline_us = CLOCK_NEVER;
    fail_session(session, NGHTTP2_SETTINGS_TIMEOUT, "the settings weren't acknowledged in time");
  }
}

void grpc_session_tick(struct grpc_session *session, int64_t now_us) {
  session->now_us = now_us;
  tick_handshake(session);
  tick_liveness(session);
  if (session->last_stream_id >= LAST_STREAM_ID)
    retire(session, "max_streams");
  if (session->goaway_deadline_us <= now_us)
    submit_goaway(session);
  for (struct list_link *link = session->calls.first; link; link = link->next)
    grpc_call_tick(LIST_ENTRY(link, struct grpc_call, link), now_us);
}
