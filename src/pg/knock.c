#include "pg/knock.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

enum { PATH_SIZE = CONFIG_HOST_SIZE + 32 };

struct pg_knock {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } socket;
  uv_connect_t connect;
  uv_write_t write;
  pg_knock_cb *cb; /* NULL: it was told, or nobody wants to hear it */
  void *arg;
  char answer[16];
};

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void end(struct pg_knock *knock, bool is_answered) {
  pg_knock_cb *cb = knock->cb;
  knock->cb = NULL;
  if (!cb)
    return;
  uv_close(&knock->socket.handle, on_closed);
  cb(knock->arg, is_answered);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf) {
  struct pg_knock *knock = handle->data;
  (void)suggested;
  *ret_buf = uv_buf_init(knock->answer, sizeof(knock->answer));
}

/* Who closes is there as well. */
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf) {
  (void)buf;
  if (count != 0)
    end(stream->data, count > 0 || count == UV_EOF || count == UV_ECONNRESET);
}

static void on_written(uv_write_t *write, int status) {
  if (status < 0)
    end(write->data, false);
}

static void on_connected(uv_connect_t *connect, int status) {
  static const char request[] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x2f}; /* SSLRequest */
  struct pg_knock *knock = connect->data;
  const uv_buf_t buf = uv_buf_init((char *)request, sizeof(request));
  if (status == 0)
    status = uv_read_start(&knock->socket.stream, on_alloc, on_read);
  if (status == 0)
    status = uv_write(&knock->write, &knock->socket.stream, &buf, 1, on_written);
  if (status < 0)
    end(knock, false);
}

static int connect_by_tcp(struct pg_knock *knock, const struct pg_endpoint *at) {
  struct sockaddr_storage address;
  int rc = uv_ip4_addr(at->address, at->port, (struct sockaddr_in *)&address);
  if (rc < 0)
    rc = uv_ip6_addr(at->address, at->port, (struct sockaddr_in6 *)&address);
  if (rc == 0)
    rc = uv_tcp_connect(&knock->connect, &knock->socket.tcp, (struct sockaddr *)&address,
                        on_connected);
  return rc;
}

static void connect_by_path(struct pg_knock *knock, const struct pg_endpoint *at) {
  char path[PATH_SIZE];
  snprintf(path, sizeof(path), "%s/.s.PGSQL.%d", at->host, at->port);
  uv_pipe_connect(&knock->connect, &knock->socket.pipe, path, on_connected);
}

struct pg_knock *pg_knock_start(struct loop *loop, const struct pg_endpoint *at, pg_knock_cb *cb,
                                void *arg) {
  struct pg_knock *knock = xcalloc(1, sizeof(*knock));
  bool is_local = at->address[0] == '\0';
  int rc = is_local ? uv_pipe_init(loop->uv, &knock->socket.pipe, 0)
                    : uv_tcp_init(loop->uv, &knock->socket.tcp);
  if (rc < 0) {
    free(knock);
    return NULL;
  }
  knock->socket.handle.data = knock->connect.data = knock->write.data = knock;
  knock->cb = cb;
  knock->arg = arg;
  if (is_local)
    connect_by_path(knock, at);
  else
    rc = connect_by_tcp(knock, at);
  if (rc == 0)
    return knock;
  pg_knock_abandon(knock);
  return NULL;
}

void pg_knock_abandon(struct pg_knock *knock) {
  if (!knock)
    return;
  knock->cb = NULL;
  uv_close(&knock->socket.handle, on_closed);
}
