/*
 * A client's bytes, into nghttp2 and the server's callbacks: whatever comes, in whatever pieces,
 * each call ends, and nothing is kept of the connection.
 *
 * The connection is a fake, so that no socket is in the way: what it is given to read is the input,
 * behind HTTP/2's preface, and what it is asked to write is thrown away. The first byte of the
 * input says how it is cut into pieces.
 */
#include "fuzz/fuzz.h"
#include "grpc/session.h"
#include "support/echo_server.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct net_conn {
  const struct net_conn_ops *ops;
  struct grpc_session *session;
  bool is_closing;
  bool is_paused;
  bool wants_write;
};

struct net_listener {
  struct net_listener_stats stats;
};

static struct echo_server echo;

/* ---- the network's place is taken ---- */

int net_listener_new(struct net_listener **ret_listener, struct loop *loop,
                     const struct net_listener_options *options, struct error *err) {
  static struct net_listener listener;
  (void)loop;
  (void)options;
  (void)err;
  *ret_listener = &listener;
  return 0;
}

int net_listener_port(const struct net_listener *listener) {
  (void)listener;
  return 1;
}

struct net_listener_stats net_listener_stats(const struct net_listener *listener) {
  return listener->stats;
}

void net_listener_close(struct net_listener *listener, loop_task_cb *closed, void *arg) {
  (void)listener;
  closed(arg);
}

void net_conn_start(struct net_conn *conn, const struct net_conn_ops *ops, void *user) {
  conn->ops = ops;
  conn->session = user;
}

void net_conn_count(struct net_conn *conn, struct budget *budget) {
  (void)conn;
  (void)budget;
}

void net_conn_want_write(struct net_conn *conn) {
  conn->wants_write = true;
}

void net_conn_pause_read(struct net_conn *conn) {
  conn->is_paused = true;
}

void net_conn_resume_read(struct net_conn *conn) {
  conn->is_paused = false;
}

void net_conn_close(struct net_conn *conn, bool flush, const char *reason) {
  (void)flush;
  (void)reason;
  conn->is_closing = true;
}

int64_t net_conn_read_began_us(const struct net_conn *conn) {
  (void)conn;
  return clock_monotonic_us(echo.loop.clock);
}

const char *net_conn_peer(const struct net_conn *conn) {
  (void)conn;
  return "the fuzzer";
}

struct str net_conn_peer_address(const struct net_conn *conn) {
  return str_z(net_conn_peer(conn));
}

const struct peer_names *net_conn_peer_names(const struct net_conn *conn) {
  (void)conn;
  return NULL;
}

/* ---- a connection's life ---- */

static void write_all(struct net_conn *conn) {
  while (conn->wants_write && !conn->is_closing) {
    struct buf out;
    conn->wants_write = false;
    buf_init(&out, 2 * NET_WRITE_GATHER_BYTES);
    if (conn->ops->on_produce(conn->session, &out) != 0)
      conn->is_closing = true;
    else if (buf_len(&out) >= NET_WRITE_GATHER_BYTES)
      conn->wants_write = true;
    buf_deinit(&out);
  }
}

static void read_piece(struct net_conn *conn, const uint8_t *data, size_t len) {
  if (conn->ops->on_read(conn->session, data, len) != 0)
    conn->is_closing = true;
  uv_run(&echo.uv, UV_RUN_NOWAIT);
  write_all(conn);
}

static void start_server(void) {
  if (echo.server)
    return;
  echo_server_init(&echo);
  echo.stream_count = 3;
  echo.stream_size = 100;
  echo_server_start(&echo);
  log_configure(LOG_ERROR, LOG_TEXT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct net_conn conn = {0};
  if (size < 2)
    return 0;
  start_server();
  echo.sent = 0;
  size_t step = data[0] == 0 ? size : data[0];
  if (!grpc_session_accept(echo.server, &conn))
    return 0;
  read_piece(&conn, (const uint8_t *)PREFACE, sizeof(PREFACE) - 1);
  for (size_t at = 1; at < size && !conn.is_closing && !conn.is_paused; at += step)
    read_piece(&conn, data + at, size - at < step ? size - at : step);
  if (!conn.is_closing)
    grpc_session_tick(conn.session, conn.session->now_us + data[0] * 100000LL);
  write_all(&conn);
  conn.ops->on_close(conn.session, "the input ended");
  for (int turn = 0; turn < 3; turn++)
    uv_run(&echo.uv, UV_RUN_NOWAIT);
  struct grpc_server_stats stats;
  grpc_server_stats(echo.server, &stats);
  fuzz_require(stats.connections == 0, "the connection is forgotten");
  fuzz_require(stats.calls == 0, "each call ends");
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    fuzz_require(stats.memory[i] == 0, "no memory is counted");
  return 0;
}
