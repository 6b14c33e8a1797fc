/*
 * http: the operators' HTTP/1.1 port, a few fixed pages for GET and HEAD.
 *
 * Runs on the loop and makes no thread: a page is written while nothing else runs, so all its
 * numbers are of one moment. Bounded by http.max_connections, by http.timeout for silent
 * connections, by 16 KiB for a request and 4 MiB for all answers that aren't taken; requests with a
 * body are refused. With max_connections open a newcomer takes the place of another
 * (connections.h), so that whoever probes is answered. Loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/must_check.h"
#include "config/config.h"

struct http_server;

/* A page's content is at most this long. */
#define HTTP_PAGE_MAX_BYTES (256 * 1024)

/* Writes the content to `out` and returns the HTTP status. */
typedef int http_page_cb(void *arg, struct buf *out);

struct http_page {
  const char *path; /* "/metrics" */
  const char *content_type;
  http_page_cb *write;
};

struct http_options {
  const struct config_http *config; /* `listen` isn't "" */
  const struct http_page *pages;    /* static */
  int page_count;
  void *arg; /* for the pages */
};

/* Listens and serves from the next turn of the loop on. ERR_INVALID_ARGUMENT, ERR_UNAVAILABLE: as
 * acceptor_new(), with the setting's name in front. */
MUST_CHECK int http_server_new(struct http_server **ret_server, struct loop *loop,
                               const struct http_options *options, struct error *err);

/* The port bound. */
int http_server_port(const struct http_server *server);

struct http_stats {
  int64_t connections;
  int64_t max_connections;
  int64_t evicted;      /* made room for others */
  int64_t answer_bytes; /* not yet taken */
  int64_t exhausted;    /* had to wait: the system had no descriptor left */
};
void http_server_stats(const struct http_server *server, struct http_stats *ret_stats);

/* Closes all connections. `closed` (may be NULL) runs when the memory is gone. */
void http_server_close(struct http_server *server, loop_task_cb *closed, void *arg);
