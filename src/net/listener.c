#include "net/listener.h"

#include <assert.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/acceptor.h"
#include "base/alloc.h"
#include "base/log_sample.h"
#include "net/accepted.h"

/* Bytes the kernel holds unsent before the socket counts as full: what is still here can be put in
 * another order or be dropped. */
#define NOTSENT_LOWAT_BYTES (128 * 1024)
/* A peer that vanished is noticed after a minute of silence and three probes. */
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3

struct net_listener {
  struct loop *loop; /* borrowed */
  struct net_listener_options options;
  struct acceptor *acceptor; /* owned */
  struct list conns;         /* with an open socket */
  struct net_listener_stats stats;
  loop_task_cb *closed;
  void *closed_arg;
};

static void set_option(int fd, int level, int name, int value) {
  /* Each is an improvement, none a condition: a kernel without one serves as well. */
  (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_conn_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static bool has_room_for(const struct net_listener *l, const struct sockaddr_storage *peer) {
  size_t max = (size_t)l->options.max_per_address;
  return max == 0 || l->conns.count < max || net_conn_count_from(&l->conns, peer) < max;
}

static void log_refusal(struct net_listener *l, const struct sockaddr_storage *peer,
                        const char *limit) {
  char text[NET_PEER_TEXT_SIZE];
  net_peer_format(peer, text);
  const struct log_cause cause = {.level = LOG_WARN,
                                  .event = "connection refused",
                                  .peer = text,
                                  .detail = KV("reason", limit)};
  log_sampled(l->loop, &cause, NULL, 0);
}

/* Closed at once rather than left waiting: the peer then knows. */
static bool refuse(struct net_listener *l, const struct sockaddr_storage *peer) {
  if (l->conns.count >= (size_t)l->options.max_connections) {
    l->stats.refused++;
    log_refusal(l, peer, "server.max_connections are open");
  } else if (!has_room_for(l, peer)) {
    l->stats.refused_address++;
    log_refusal(l, peer, "server.max_connections_per_address are open from this address");
  } else {
    return false;
  }
  return true;
}

static void on_accept(void *arg, int fd, const union acceptor_address *peer) {
  struct net_listener *l = arg;
  if (refuse(l, &peer->storage)) {
    close(fd);
    return;
  }
  set_conn_options(fd);
  const struct net_conn_options options = {.peer = &peer->storage,
                                           .write_timeout_us = l->options.write_timeout_us,
                                           .tls = l->options.tls,
                                           .siblings = &l->conns};
  struct net_conn *conn = net_conn_new(l->loop, fd, &options);
  if (!conn) {
    log_refusal(l, &peer->storage, "there is no memory for it, or it can't be watched");
    return;
  }
  if (l->options.on_accept(l->options.user, conn)) {
    assert(net_conn_is_started(conn));
    l->stats.accepted++;
  } else {
    log_refusal(l, &peer->storage, "server.max_inbound_bytes has no room for it");
    net_conn_close(conn, false, "refused");
  }
}

int net_listener_new(struct net_listener **ret_listener, struct loop *loop,
                     const struct net_listener_options *options, struct error *err) {
  struct net_listener *l = xcalloc(1, sizeof(*l));
  l->loop = loop;
  l->options = *options;
  l->options.address = NULL;
  const struct acceptor_options accepting = {
      .address = options->address, .on_accept = on_accept, .arg = l};
  int rc = acceptor_new(&l->acceptor, loop, &accepting, err);
  if (rc != 0) {
    free(l);
    return rc;
  }
  *ret_listener = l;
  return 0;
}

int net_listener_port(const struct net_listener *listener) {
  return acceptor_port(listener->acceptor);
}

struct net_listener_stats net_listener_stats(const struct net_listener *listener) {
  struct net_listener_stats stats = listener->stats;
  stats.open = listener->conns.count;
  stats.exhausted = acceptor_exhausted(listener->acceptor);
  return stats;
}

static void on_acceptor_closed(void *arg) {
  struct net_listener *l = arg;
  net_conn_orphan_all(&l->conns);
  loop_task_cb *closed = l->closed;
  void *closed_arg = l->closed_arg;
  free(l);
  if (closed)
    closed(closed_arg);
}

void net_listener_close(struct net_listener *listener, loop_task_cb *closed, void *arg) {
  listener->closed = closed;
  listener->closed_arg = arg;
  acceptor_close(listener->acceptor, on_acceptor_closed, listener);
}
