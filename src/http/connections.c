#include "http/connections.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"

static void set_state(struct http_conns *conns, struct http_conn *conn,
                      enum http_conn_state state) {
  list_remove(&conns->lists[conn->state], &conn->link);
  conn->state = state;
  list_push_back(&conns->lists[state], &conn->link);
}

static void set_answer(struct http_conns *conns, struct http_conn *conn, size_t bytes) {
  conns->answer_bytes += (int64_t)bytes - (int64_t)conn->answer_bytes;
  conn->answer_bytes = bytes;
}

struct http_conn *http_conn_add(struct http_conns *conns, int fd) {
  struct http_conn *conn = xcalloc(1, sizeof(*conn));
  conn->fd = fd;
  conn->state = HTTP_CONN_SILENT;
  list_push_back(&conns->lists[conn->state], &conn->link);
  return conn;
}

void http_conn_remove(struct http_conns *conns, struct http_conn *conn) {
  set_answer(conns, conn, 0);
  list_remove(&conns->lists[conn->state], &conn->link);
  free(conn);
}

size_t http_conn_count(const struct http_conns *conns) {
  size_t count = 0;
  for (int state = 0; state < HTTP_CONN_LEAVING; state++)
    count += conns->lists[state].count;
  return count;
}

/* The library finds the socket at its end, closes it and drops its answer. */
static void evict(struct http_conns *conns, struct list_link *link) {
  struct http_conn *conn = LIST_ENTRY(link, struct http_conn, link);
  shutdown(conn->fd, SHUT_RDWR);
  set_answer(conns, conn, 0);
  set_state(conns, conn, HTTP_CONN_LEAVING);
  conns->evicted++;
}

void http_conn_answer(struct http_conns *conns, struct http_conn *conn, size_t bytes,
                      int64_t max_bytes) {
  const struct list *answered = &conns->lists[HTTP_CONN_ANSWERED];
  if (conn->state == HTTP_CONN_LEAVING)
    return;
  set_answer(conns, conn, bytes);
  set_state(conns, conn, HTTP_CONN_ANSWERED);
  while (conns->answer_bytes > max_bytes && answered->first && answered->first != &conn->link)
    evict(conns, answered->first);
}

void http_conn_answered(struct http_conns *conns, struct http_conn *conn) {
  set_answer(conns, conn, 0);
  if (conn->state != HTTP_CONN_LEAVING)
    set_state(conns, conn, HTTP_CONN_KEPT);
}

void http_conn_make_room(struct http_conns *conns, size_t max) {
  for (int state = 0; state < HTTP_CONN_LEAVING; state++) {
    while (conns->lists[state].first && http_conn_count(conns) >= max)
      evict(conns, conns->lists[state].first);
  }
}
