/*
 * connections: the HTTP port's connections by what they are waiting for, and which one goes when
 * another needs its place.
 *
 * Whoever probes must get an answer, whoever else holds connections. So it is never the newcomer
 * that is turned away: of those that wait for another request, the one that has waited longest
 * goes; without one, the oldest of those that haven't asked anything yet, however often a byte of a
 * request comes; without one, the one whose answer has been under way longest. Loop thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum http_conn_state {
  HTTP_CONN_KEPT,     /* answered, and open for more */
  HTTP_CONN_SILENT,   /* no whole request has come */
  HTTP_CONN_ANSWERED, /* its answer is under way */
  HTTP_CONN_LEAVING,  /* shut down; the library hasn't let go of it yet */
  HTTP_CONN_STATES,
};

struct http_conn {
  struct list_link link; /* in lists[state] */
  enum http_conn_state state;
  int fd;              /* borrowed */
  size_t answer_bytes; /* held until they are sent */
};

/* Zeroed is empty. */
struct http_conns {
  struct list lists[HTTP_CONN_STATES]; /* each by the time of coming into it */
  int64_t answer_bytes;                /* of all */
  int64_t evicted;
};

/* A new one; NULL is never returned. */
struct http_conn *http_conn_add(struct http_conns *conns, int fd);
void http_conn_remove(struct http_conns *conns, struct http_conn *conn);

/* Those that aren't leaving. */
size_t http_conn_count(const struct http_conns *conns);

/* A request is whole; it gets an answer of so many bytes. Others whose answers wait go, when all
 * together are more than `max_bytes`. */
void http_conn_answer(struct http_conns *conns, struct http_conn *conn, size_t bytes,
                      int64_t max_bytes);

/* The answer is sent, or will never be. */
void http_conn_answered(struct http_conns *conns, struct http_conn *conn);

/* Shuts connections down until there are fewer than `max`. */
void http_conn_make_room(struct http_conns *conns, size_t max);
