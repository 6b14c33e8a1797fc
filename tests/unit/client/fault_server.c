#include "fault_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *arg) {
  const struct connection *c = arg;
  struct fault_stream *s = source->ptr;
  size_t len = buf_len(&s->out) < room ? buf_len(&s->out) : room;
  if (s->drips && len > 1)
    len = 1;
  if (len == 0 && !s->is_done) {
    s->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (len)
    memcpy(out, buf_bytes(&s->out), len);
  buf_consume(&s->out, len);
  c->server->taken += len;
  if (!s->is_done || buf_len(&s->out) > 0)
    return (ssize_t)len;
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (s->has_trailers) {
    const nghttp2_nv trailers[] = {NV("grpc-status", is(s, "late_error") ? "9" : "0"),
                                   NV("x-last", "word")};
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, id, trailers, 2);
  }
  return (ssize_t)len;
}

static void answer(struct connection *c, int32_t id, struct fault_stream *s) {
  const bool is_html = is(s, "error_page") || is(s, "page");
  const nghttp2_nv headers[] = {
      NV(":status", is(s, "error_page") ? "503" : "200"),
      NV("content-type", is_html          ? "text/html"
                         : is(s, "web")   ? "application/grpc-web"
                         : is(s, "proto") ? "application/GRPC+proto"
                                          : "application/grpc"),
      NV("x-first", "word"),
      NV("grpc-encoding", s->is_gzip ? "gzip" : "identity"),
  };
  const nghttp2_nv informational[] = {NV(":status", "103"), NV("grpc-status", "7")};
  const nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_answer};
  if (!s->is_answered && (is(s, "hints") || is(s, "no_trailers")))
    nghttp2_submit_headers(c->session, 0, id, NULL, informational, 2, NULL);
  if (!s->is_answered)
    nghttp2_submit_response(c->session, id, headers, 4, &provider);
  else if (s->is_deferred)
    nghttp2_session_resume_data(c->session, id);
  s->is_answered = true;
  s->is_deferred = false;
}

/* A HEADERS frame on stream 0, which HTTP/2 forbids. */
static void break_http2(struct connection *c) {
  static const uint8_t frame[] = {0, 0, 0, 1, 4, 0, 0, 0, 0};
  if (send(c->fd, frame, sizeof(frame), MSG_NOSIGNAL) != sizeof(frame))
    c->must_close = true;
}

/* Faults that don't wait for the request's end. Returns whether the stream was dealt with. */
static bool fail_early(struct connection *c, int32_t id, const struct fault_stream *s) {
  struct fault_server *server = c->server;
  if (is(s, "error")) {
    answer_error(c, id);
  } else if (is(s, "html")) {
    const nghttp2_nv headers[] = {NV(":status", "503"), NV("content-type", "text/html")};
    nghttp2_submit_response(c->session, id, headers, 2, NULL);
  } else if (is(s, "refused") || (is(s, "refused_once") && server->refusals++ == 0)) {
    nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_REFUSED_STREAM);
  } else if (is(s, "mute")) {
    c->is_mute = true;
  } else if (is(s, "goaway_once") && server->goaways++ == 0) {
    nghttp2_submit_goaway(c->session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
  } else if (is(s, "close")) {
    c->must_close = true;
  } else if (is(s, "broken")) {
    break_http2(c);
  } else {
    return is(s, "silent") || is(s, "stall");
  }
  return true;
}

static void fail_late(struct connection *c, int32_t id, struct fault_stream *s) {
  static const uint8_t garbage[] = {0xff, 0xff, 0xff};
  s->is_done = true;
  s->has_trailers = true;
  if (is(s, "reset")) {
    s->is_done = false;
    answer(c, id, s);
    nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_INTERNAL_ERROR);
    return;
  }
  if (is(s, "no_trailers")) {
    s->has_trailers = false;
    put_message(s, 0, "", 0);
  } else if (is(s, "oversize")) {
    buf_append(&s->out, "\0\6\x40\0\0abc", 8);
  } else if (is(s, "truncated")) {
    buf_append(&s->out, "\0\0\0\0\12abc", 8);
  } else if (is(s, "compressed")) {
    put_message(s, 1, "abc", 3);
  } else if (is(s, "garbage")) {
    put_message(s, 0, garbage, sizeof(garbage));
  } else if (is(s, "flood")) {
    answer_flood(s);
  } else if (is(s, "two")) {
    put_message(s, 0, "", 0);
    put_message(s, 0, "", 0);
  } else if (is(s, "one") || is(s, "web") || is(s, "late_error")) {
    put_message(s, 0, "", 0);
  } else if (is(s, "empties")) {
    static const uint8_t empty[GRPC_PREFIX_BYTES];
    for (int i = 0; i < 1000000; i++)
      buf_append(&s->out, empty, sizeof(empty));
  } else if (is(s, "page") || is(s, "error_page")) {
    s->has_trailers = false;
    buf_append_str(&s->out, "<html>an answer in some other protocol</html>");
  } else if (is(s, "bomb")) {
    static const uint8_t zeros[5 * 1024 * 1024];
    put_gzip(s, zeros, sizeof(zeros));
  } else if (is(s, "bad_gzip")) {
    put_message(s, 1, "no gzip", 7);
  } else if (is(s, "mirror")) {
    answer_mirror(c, id, s);
    return;
  } else if (is(s, "retry") && answer_retry(c, id, s)) {
    return;
  }
  s->is_gzip = is(s, "gzip") || is(s, "bomb") || is(s, "bad_gzip");
  s->drips = is(s, "drip");
  answer(c, id, s);
}

static bool echoes(const struct fault_stream *s) {
  return is(s, "echo") || is(s, "drip") || is(s, "leave") || is(s, "hints") || is(s, "proto") ||
         is(s, "refused_once") || is(s, "goaway_once") || is(s, "refused_late") || is(s, "gzip") ||
         is(s, "retry");
}

static void echo(struct connection *c, int32_t id, struct fault_stream *s) {
  struct buf room;
  struct str bytes = inflated(s, &room);
  if (is(s, "refused_late") && c->server->late_refusals++ == 0) {
    nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_REFUSED_STREAM);
  } else if (is(s, "gzip")) {
    s->is_gzip = true;
    put_gzip(s, bytes.data, bytes.len);
    answer(c, id, s);
  } else {
    put_message(s, 0, bytes.data, bytes.len);
    if (!is(s, "drip") && !is(s, "retry"))
      answer(c, id, s);
  }
  buf_deinit(&room);
}

/* Faults that come with the first message. */
static void on_message(struct connection *c, int32_t id, struct fault_stream *s) {
  buf_append_format(&s->seen, "message with flag %d\n", s->in.prefix[0]);
  if (is(s, "leave") && !s->is_done) {
    nghttp2_submit_goaway(c->session, 0, id, NGHTTP2_NO_ERROR, NULL, 0);
  } else if (is(s, "early") && !s->is_done) {
    s->is_done = true;
    s->has_trailers = true;
    answer(c, id, s);
  }
}

/* ---- nghttp2 ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return 0;
  struct connection *c = arg;
  struct fault_stream *s = calloc(1, sizeof(*s));
  c->server->requests++;
  grpc_deframer_init(&s->in, 4 * 1024 * 1024);
  s->in.may_be_compressed = true;
  buf_init(&s->out, MAX_OUT);
  buf_init(&s->seen, 16 * 1024);
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg) {
  (void)flags;
  (void)arg;
  struct fault_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (s && str_is(str_of(name, name_len), ":path"))
    snprintf(s->method, sizeof(s->method), "%.*s", (int)value_len - 7, value + 7);
  if (s)
    buf_append_format(&s->seen, "%.*s: %.*s\n", (int)name_len, name, (int)value_len, value);
  return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  struct connection *c = arg;
  c->server->pings += frame->hd.type == NGHTTP2_PING;
  int32_t id = frame->hd.stream_id;
  struct fault_stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s)
    return 0;
  if (frame->hd.type == NGHTTP2_HEADERS && fail_early(c, id, s))
    return 0;
  if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    buf_append_str(&s->seen, frame->hd.length > 0 ? "ends with data\n" : "ends without data\n");
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !is(s, "silent") && !is(s, "stall") &&
      !is(s, "error") && !is(s, "html") && !s->is_done)
    fail_late(c, id, s);
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg) {
  (void)flags;
  struct connection *c = arg;
  struct fault_stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s || is(s, "stall"))
    return 0;
  nghttp2_session_consume(session, id, len);
  while (len > 0 && grpc_deframer_feed(&s->in, &data, &len) == GRPC_DEFRAME_MESSAGE) {
    if (echoes(s))
      echo(c, id, s);
    on_message(c, id, s);
    grpc_deframer_next(&s->in);
  }
  return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg) {
  (void)error;
  (void)arg;
  struct fault_stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s)
    return 0;
  grpc_deframer_deinit(&s->in);
  buf_deinit(&s->out);
  buf_deinit(&s->seen);
  free(s);
  return 0;
}

static void session_start(struct connection *c) {
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->server->max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->server->is_wide ? WIDE_WINDOW : 65535}};
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  nghttp2_session_server_new2(&c->session, callbacks, c, option);
  nghttp2_submit_settings(c->session, 0, settings, 2);
  if (c->server->is_wide)
    nghttp2_session_set_local_window_size(c->session, 0, 0, WIDE_WINDOW);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
}

/* ---- the thread ---- */

static void connection_close(struct connection *c) {
  /* Frees the streams through their close callback. */
  int32_t id = 1;
  for (; id < 4000 && c->session; id += 2)
    if (nghttp2_session_get_stream_user_data(c->session, id))
      on_stream_close(c->session, id, 0, c);
  nghttp2_session_del(c->session);
  SSL_free(c->ssl);
  close(c->fd);
  *c = (struct connection){.server = c->server, .fd = -1};
}

static void connection_send(struct connection *c) {
  const uint8_t *data = NULL;
  ssize_t len = 0;
  while (!c->must_close && (len = nghttp2_session_mem_send(c->session, &data)) > 0)
    for (ssize_t sent = 0; sent < len;) {
      ssize_t n = fault_tls_send(c->ssl, c->fd, data + sent, (size_t)(len - sent));
      if (n <= 0) {
        c->must_close = true;
        return;
      }
      sent += n;
    }
}

static void connection_receive(struct connection *c) {
  uint8_t data[16384];
  do {
    ssize_t n = fault_tls_receive(c->ssl, c->fd, data, sizeof(data));
    if (n <= 0 || nghttp2_session_mem_recv(c->session, data, (size_t)n) < 0)
      c->must_close = true;
    else
      connection_send(c);
  } while (!c->must_close && c->ssl && SSL_has_pending(c->ssl));
  if (c->must_close)
    connection_close(c);
}

static void accept_one(struct fault_server *server) {
  int fd = accept(server->listener, NULL, NULL);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const bool is_welcome = server->max_streams > 0;
  for (int i = 0; is_welcome && fd >= 0 && i < MAX_CONNECTIONS; i++) {
    struct connection *c = &server->connections[i];
    if (c->fd >= 0)
      continue;
    if (server->tls && !(c->ssl = fault_tls_accept(server->tls, fd)))
      break;
    c->fd = fd;
    session_start(c);
    connection_send(c);
    server->accepted++;
    return;
  }
  close(fd);
}

static void close_all(struct fault_server *server) {
  for (int i = 0; i < MAX_CONNECTIONS; i++)
    if (server->connections[i].fd >= 0)
      connection_close(&server->connections[i]);
}

static void signal_fd(int fd) {
  uint64_t one = 1;
  if (write(fd, &one, sizeof(one)) != sizeof(one))
    abort();
}

static void await_fd(int fd) {
  uint64_t count;
  if (read(fd, &count, sizeof(count)) != sizeof(count))
    abort();
}

static void *serve(void *arg) {
  struct fault_server *server = arg;
  /* For this thread alone: the client's own writes must not raise it. */
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
  for (;;) {
    struct pollfd fds[3 + MAX_CONNECTIONS] = {
        {server->stop_fd, POLLIN, 0}, {server->listener, POLLIN, 0}, {server->drop_fd, POLLIN, 0}};
    for (int i = 0; i < MAX_CONNECTIONS; i++)
      fds[3 + i] = (struct pollfd){server->connections[i].is_mute ? -1 : server->connections[i].fd,
                                   POLLIN, 0};
    poll(fds, 3 + MAX_CONNECTIONS, -1);
    if (fds[0].revents)
      return NULL;
    for (int i = 0; i < MAX_CONNECTIONS; i++)
      if (fds[3 + i].revents)
        connection_receive(&server->connections[i]);
    if (fds[1].revents)
      accept_one(server);
    if (fds[2].revents) {
      await_fd(server->drop_fd);
      close_all(server);
      signal_fd(server->dropped_fd);
    }
  }
}

static struct fault_server *server_new(uint32_t max_streams, int family) {
  struct fault_server *server = calloc(1, sizeof(*server));
  server->max_streams = max_streams;
  for (int i = 0; i < MAX_CONNECTIONS; i++)
    server->connections[i] = (struct connection){.server = server, .fd = -1};
  server->listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  server->stop_fd = eventfd(0, EFD_CLOEXEC);
  server->drop_fd = eventfd(0, EFD_CLOEXEC);
  server->dropped_fd = eventfd(0, EFD_CLOEXEC);
  return server;
}

struct fault_server *fault_server_bind(uint32_t max_streams) {
  struct fault_server *server = server_new(max_streams, AF_INET);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);
  if (bind(server->listener, (struct sockaddr *)&address, len) != 0 ||
      getsockname(server->listener, (struct sockaddr *)&address, &len) != 0)
    abort();
  snprintf(server->target, sizeof(server->target), "127.0.0.1:%d", ntohs(address.sin_port));
  return server;
}

struct fault_server *fault_server_bind_path(uint32_t max_streams, const char *path) {
  struct fault_server *server = server_new(max_streams, AF_UNIX);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  if (bind(server->listener, (struct sockaddr *)&address, sizeof(address)) != 0)
    abort();
  snprintf(server->target, sizeof(server->target), "unix:%s", path);
  return server;
}

void fault_server_use_tls(struct fault_server *server, struct ssl_ctx_st *context) {
  server->tls = context;
}

void fault_server_listen(struct fault_server *server) {
  if (listen(server->listener, 16) != 0)
    abort();
}

void fault_server_widen(struct fault_server *server) {
  server->is_wide = true;
}

void fault_server_serve(struct fault_server *server) {
  server->is_serving = true;
  pthread_create(&server->thread, NULL, serve, server);
}

struct fault_server *fault_server_start(uint32_t max_streams) {
  struct fault_server *server = fault_server_bind(max_streams);
  fault_server_listen(server);
  fault_server_serve(server);
  return server;
}

const char *fault_server_target(const struct fault_server *server) {
  return server->target;
}

int fault_server_connections(const struct fault_server *server) {
  return server->accepted;
}

int fault_server_requests(const struct fault_server *server) {
  return server->requests;
}

int fault_server_pings(const struct fault_server *server) {
  return server->pings;
}

size_t fault_server_taken(const struct fault_server *server) {
  return server->taken;
}

void fault_server_drop_connections(struct fault_server *server) {
  signal_fd(server->drop_fd);
  await_fd(server->dropped_fd);
}

void fault_server_stop(struct fault_server *server) {
  signal_fd(server->stop_fd);
  if (server->is_serving)
    pthread_join(server->thread, NULL);
  close_all(server);
  close(server->listener);
  close(server->drop_fd);
  close(server->dropped_fd);
  close(server->stop_fd);
  free(server);
}
