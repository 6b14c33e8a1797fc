/*
 * listener: a listening TCP socket that hands accepted connections to its user.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/must_check.h"
#include "net/conn.h"
#include "net/tls.h"

struct net_listener;

/* Runs for each connection and calls net_conn_start() on it; or returns false, without that: it is
 * closed at once. */
typedef bool net_accept_cb(void *user, struct net_conn *conn);

struct net_listener_options {
  const char *address;      /* "host:port", "[::1]:port"; port 0 picks a free one */
  int max_connections;      /* open at once; further ones are accepted and closed at once */
  int max_per_address;      /* the same, from one address; 0: off */
  int64_t write_timeout_us; /* a connection that can't write for so long is closed */
  struct tls_context *tls;  /* NULL: plain; outlives the connections */
  net_accept_cb *on_accept;
  void *user;
};

/* Resolves a numeric address or a host name of this machine, binds and listens. `options` is
 * copied. ERR_INVALID_ARGUMENT: not host:port. ERR_UNAVAILABLE: can't be bound, with errno's text.
 */
MUST_CHECK int net_listener_new(struct net_listener **ret_listener, struct loop *loop,
                                const struct net_listener_options *options, struct error *err);

/* Since the listener was made. */
struct net_listener_stats {
  size_t open;
  int64_t accepted; /* and kept */
  int64_t refused;  /* above max_connections */
  int64_t refused_address;
  int64_t exhausted; /* had to wait: acceptor_exhausted() */
};
struct net_listener_stats net_listener_stats(const struct net_listener *listener);

/* The port bound. */
int net_listener_port(const struct net_listener *listener);

/* Stops accepting; connections live on. `closed` (may be NULL) runs when the listener is freed. */
void net_listener_close(struct net_listener *listener, loop_task_cb *closed, void *arg);
