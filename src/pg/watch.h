/*
 * watch: libuv's interest in one socket that libpq (or we) own.
 *
 * libpq may close its socket and open another under the same number, after which epoll stays silent
 * for ever. So: stop before anything that may close the socket, set again afterwards, and never
 * keep a watch longer than its descriptor. Loop thread only.
 */
#pragma once

#include "base/loop.h"

struct pg_watch;

/* `status` below 0: the watch has stopped and `events` says nothing; look at the socket. */
typedef void pg_watch_cb(void *arg, int status, int events);

/* Watches nothing yet. NULL when libuv refuses the descriptor. */
struct pg_watch *pg_watch_open(struct loop *loop, int fd, pg_watch_cb *cb, void *arg);

int pg_watch_fd(const struct pg_watch *watch);

/* UV_READABLE, UV_WRITABLE or both. After a stop it registers the descriptor anew. */
void pg_watch_set(struct pg_watch *watch, int events);

void pg_watch_stop(struct pg_watch *watch);

/* cb never runs again; the memory frees itself. NULL is fine. Close the descriptor after this. */
void pg_watch_close(struct pg_watch *watch);
