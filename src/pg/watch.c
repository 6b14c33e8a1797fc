#include "pg/watch.h"

#include <stdlib.h>

#include "base/alloc.h"

struct pg_watch {
  uv_poll_t poll;
  pg_watch_cb *cb;
  void *arg;
  int fd;
  int events; /* registered; 0: stopped */
};

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct pg_watch *watch = poll->data;
  if (status < 0)
    watch->events = 0;
  watch->cb(watch->arg, status, events);
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

struct pg_watch *pg_watch_open(struct loop *loop, int fd, pg_watch_cb *cb, void *arg) {
  struct pg_watch *watch = xcalloc(1, sizeof(*watch));
  if (uv_poll_init(loop->uv, &watch->poll, fd) < 0) {
    free(watch);
    return NULL;
  }
  watch->poll.data = watch;
  watch->cb = cb;
  watch->arg = arg;
  watch->fd = fd;
  return watch;
}

int pg_watch_fd(const struct pg_watch *watch) {
  return watch->fd;
}

void pg_watch_set(struct pg_watch *watch, int events) {
  if (watch->events == events)
    return;
  watch->events = events;
  uv_poll_start(&watch->poll, events, on_poll);
}

void pg_watch_stop(struct pg_watch *watch) {
  watch->events = 0;
  uv_poll_stop(&watch->poll);
}

void pg_watch_close(struct pg_watch *watch) {
  if (watch)
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}
