/*
 * fault_private: the fault_server as its own files see it.
 */
#pragma once

#include "base/buf.h"
#include "fault_server.h"
#include "fault_tls.h"
#include "grpc/wire.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MAX_CONNECTIONS 16
#define MAX_OUT         (64 * 1024 * 1024)
#define WIDE_WINDOW     (64 * 1024 * 1024)

struct fault_stream {
  char method[32];
  struct grpc_deframer in;
  struct buf out;
  struct buf seen;  /* the request's headers, "name: value\n" each, and how its data ended */
  bool is_answered; /* response headers were submitted */
  bool is_done;     /* nothing comes after what is in `out` */
  bool has_trailers;
  bool drips;
  bool is_gzip; /* answers are compressed */
  bool is_deferred;
};

struct connection {
  struct fault_server *server;
  int fd;
  SSL *ssl; /* NULL: without TLS */
  nghttp2_session *session;
  bool must_close;
  bool is_mute; /* neither reads nor writes any more */
};

struct fault_server {
  pthread_t thread;
  bool is_serving, is_wide;
  int listener, stop_fd;
  int drop_fd, dropped_fd; /* asks for all connections to be closed; says that they are */
  uint32_t max_streams;
  SSL_CTX *tls; /* borrowed; NULL: without */
  char target[128];
  atomic_int accepted, requests, pings;
  atomic_size_t taken; /* bytes of answers given to HTTP/2 */
  int refusals, late_refusals, goaways;
  struct connection connections[MAX_CONNECTIONS];
};

#define NV(name, value)                                                                            \
  { (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE }

static inline bool is(const struct fault_stream *s, const char *method) {
  return strcmp(s->method, method) == 0;
}

/* What a request's header says; NULL: it has none. Valid until the next call. */
const char *seen_value(struct fault_stream *s, const char *name);

void put_message(struct fault_stream *s, uint8_t flag, const void *data, size_t len);
void put_gzip(struct fault_stream *s, const void *data, size_t len);
/* The message that has just come, inflated. */
struct str inflated(const struct fault_stream *s, struct buf *room);

void answer_error(struct connection *c, int32_t id);
void answer_mirror(struct connection *c, int32_t id, struct fault_stream *s);
void answer_flood(struct fault_stream *s);

/* Answers as x-code, x-times, x-pushback, x-delay-ms and x-headers say. False: it is time to
 * answer well. */
bool answer_retry(struct connection *c, int32_t id, struct fault_stream *s);
