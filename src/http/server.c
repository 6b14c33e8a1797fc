#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/acceptor.h"
#include "base/alloc.h"
#include "http/connections.h"

/* A request's line and headers, and the answer's, of one connection. */
#define CONNECTION_MEMORY_BYTES ((size_t)(16 * 1024))
/* Of all answers that wait to be taken: as much as 16 of the largest pages. */
#define ANSWERS_MAX_BYTES ((int64_t)16 * HTTP_PAGE_MAX_BYTES)
#define US_PER_MS         1000
#define US_PER_S          1000000
#define METHODS_ALLOWED   "GET, HEAD"
#define TEXT_PLAIN        "text/plain; charset=utf-8"

struct http_server {
  struct loop *loop; /* borrowed */
  struct http_options options;
  struct acceptor *acceptor; /* owned, as all below */
  struct MHD_Daemon *mhd;
  struct http_conns conns;
  uv_poll_t poll; /* of the descriptor that gathers all events of the library */
  struct loop_timer timer;
  struct buf content; /* of the page being written */
  int open_handles;
  loop_task_cb *closed;
  void *closed_arg;
};

/* ---- connections ---- */

static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
  struct http_server *server = arg;
  if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
    http_conn_remove(&server->conns, *socket_context);
    return;
  }
  int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  *socket_context = http_conn_add(&server->conns, fd);
}

static struct http_conn *conn_of(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
  struct http_server *server = arg;
  (void)state;
  (void)code;
  http_conn_answered(&server->conns, conn_of(connection));
}

/* ---- answering ---- */

static enum MHD_Result answer(struct http_server *server, struct MHD_Connection *connection,
                              int status, const char *content_type) {
  /* Borrowed by the library only in appearance: it copies. */
  void *content = (void *)(uintptr_t)buf_bytes(&server->content);
  struct MHD_Response *response =
      MHD_create_response_from_buffer(buf_len(&server->content), content, MHD_RESPMEM_MUST_COPY);
  if (!response)
    return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, METHODS_ALLOWED);
  enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
  http_conn_answer(&server->conns, conn_of(connection), buf_len(&server->content),
                   ANSWERS_MAX_BYTES);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result answer_text(struct http_server *server, struct MHD_Connection *connection,
                                   int status, const char *text) {
  buf_clear(&server->content);
  buf_append_str(&server->content, text);
  return answer(server, connection, status, TEXT_PLAIN);
}

static enum MHD_Result answer_not_found(struct http_server *server,
                                        struct MHD_Connection *connection) {
  buf_clear(&server->content);
  buf_append_str(&server->content, "not found; the pages are:\n");
  for (int i = 0; i < server->options.page_count; i++) {
    buf_append_str(&server->content, server->options.pages[i].path);
    buf_append_str(&server->content, "\n");
  }
  return answer(server, connection, MHD_HTTP_NOT_FOUND, TEXT_PLAIN);
}

static enum MHD_Result answer_page(struct http_server *server, struct MHD_Connection *connection,
                                   const struct http_page *page) {
  buf_clear(&server->content);
  int status = page->write(server->options.arg, &server->content);
  return answer(server, connection, status, page->content_type);
}

static const struct http_page *find_page(const struct http_server *server, const char *path) {
  for (int i = 0; i < server->options.page_count; i++) {
    if (strcmp(server->options.pages[i].path, path) == 0)
      return &server->options.pages[i];
  }
  return NULL;
}

static bool is_allowed(const char *method) {
  return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static bool has_body(struct MHD_Connection *connection) {
  const char *length =
      MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  if (length && strcmp(length, "0") != 0)
    return true;
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                     MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

/* The library calls this first when the headers are complete, then when the request is. An answer
 * to the first call closes the connection, which is how a body goes unread. */
/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_len, void **ret_state) {
  struct http_server *server = arg;
  (void)version;
  (void)body;
  (void)body_len;
  bool is_first = !*ret_state;
  *ret_state = server;
  bool is_refused = is_first && has_body(connection);
  if (is_first && !is_refused)
    return MHD_YES;
  if (!is_allowed(method))
    return answer_text(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                       "only GET and HEAD are served here\n");
  if (is_refused)
    return answer_text(server, connection, MHD_HTTP_CONTENT_TOO_LARGE,
                       "a request here has no body\n");
  const struct http_page *page = find_page(server, path);
  return page ? answer_page(server, connection, page) : answer_not_found(server, connection);
}

/* ---- the library on the loop ---- */

/* Lets the library do what it can now, and come back when it wants to. */
static void http_turn(struct http_server *server) {
  MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
  MHD_run(server->mhd);
  int64_t at_us = CLOCK_NEVER;
  if (MHD_get_timeout(server->mhd, &timeout_ms) == MHD_YES)
    at_us = clock_monotonic_us(server->loop->clock) + (int64_t)timeout_ms * US_PER_MS;
  loop_timer_set(&server->timer, at_us);
}

static void on_events(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  http_turn(poll->data);
}

static void on_timer(void *arg) {
  http_turn(arg);
}

static void on_accept(void *arg, int fd, const union acceptor_address *peer) {
  struct http_server *server = arg;
  http_conn_make_room(&server->conns, (size_t)server->options.config->max_connections);
  (void)MHD_add_connection(server->mhd, fd, &peer->any, sizeof(*peer));
  http_turn(server);
}

/* ---- life cycle ---- */

static struct MHD_Daemon *start_mhd(struct http_server *server) {
  const struct config_http *config = server->options.config;
  /* We keep to max_connections; those that are leaving count until the library has closed them. */
  unsigned limit = 2 * (unsigned)config->max_connections + 1;
  return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request,
                          server, MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_NOTIFY_CONNECTION,
                          on_connection, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(config->timeout_us / US_PER_S),
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES,
                          MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static int http_listen(struct http_server *server, struct error *err) {
  const struct acceptor_options options = {
      .address = server->options.config->listen, .on_accept = on_accept, .arg = server};
  int rc = acceptor_new(&server->acceptor, server->loop, &options, err);
  if (rc < 0)
    error_prefix(err, "http.listen");
  return rc;
}

/* The library and the loop's handle for it; false when the system has no descriptor for them. */
static bool http_start(struct http_server *server) {
  server->mhd = start_mhd(server);
  if (!server->mhd)
    return false;
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD);
  if (info && uv_poll_init(server->loop->uv, &server->poll, info->epoll_fd) == 0)
    return true;
  MHD_stop_daemon(server->mhd);
  return false;
}

int http_server_new(struct http_server **ret_server, struct loop *loop,
                    const struct http_options *options, struct error *err) {
  struct http_server *server = xcalloc(1, sizeof(*server));
  server->loop = loop;
  server->options = *options;
  int rc = http_listen(server, err);
  if (rc < 0) {
    free(server);
    return rc;
  }
  if (!http_start(server)) {
    acceptor_close(server->acceptor, NULL, NULL);
    free(server);
    return error_set(err, ERR_UNAVAILABLE, "http.listen: can't serve: %s", strerror(errno));
  }
  buf_init(&server->content, HTTP_PAGE_MAX_BYTES);
  server->poll.data = server;
  server->open_handles = 3;
  loop_timer_init(&server->timer, loop, on_timer, server);
  uv_poll_start(&server->poll, UV_READABLE, on_events);
  *ret_server = server;
  return 0;
}

int http_server_port(const struct http_server *server) {
  return acceptor_port(server->acceptor);
}

void http_server_stats(const struct http_server *server, struct http_stats *ret_stats) {
  ret_stats->connections = (int64_t)http_conn_count(&server->conns);
  ret_stats->evicted = server->conns.evicted;
  ret_stats->exhausted = acceptor_exhausted(server->acceptor);
  ret_stats->answer_bytes = server->conns.answer_bytes;
  ret_stats->max_connections = server->options.config->max_connections;
}

static void release_handle(void *arg) {
  struct http_server *server = arg;
  if (--server->open_handles > 0)
    return;
  loop_task_cb *closed = server->closed;
  void *closed_arg = server->closed_arg;
  buf_deinit(&server->content);
  free(server);
  if (closed)
    closed(closed_arg);
}

static void on_poll_closed(uv_handle_t *handle) {
  release_handle(handle->data);
}

/* The loop lets go of the library's descriptor before the library closes it. */
void http_server_close(struct http_server *server, loop_task_cb *closed, void *arg) {
  server->closed = closed;
  server->closed_arg = arg;
  acceptor_close(server->acceptor, release_handle, server);
  loop_timer_close(&server->timer, release_handle, server);
  uv_poll_stop(&server->poll);
  uv_close((uv_handle_t *)&server->poll, on_poll_closed);
  MHD_stop_daemon(server->mhd);
}
