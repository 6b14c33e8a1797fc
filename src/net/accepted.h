/*
 * accepted: what the listener needs of a connection beyond conn.h. Private to this folder.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/conn.h"
#include "net/tls.h"

struct net_conn_options {
  const struct sockaddr_storage *peer;
  int64_t write_timeout_us;
  struct tls_context *tls; /* NULL: plain */
  struct list *siblings;   /* the connection is in it until its socket is closed */
};

/* "address:port"; IPv6 in brackets, with its scope. */
#define NET_PEER_TEXT_SIZE (INET6_ADDRSTRLEN + 10)
void net_peer_format(const struct sockaddr_storage *peer, char ret_text[NET_PEER_TEXT_SIZE]);

/* Takes over `fd`, a connected non-blocking socket. `options` is copied. NULL, with `fd` closed,
 * when the loop can't watch it, or there is no memory for TLS. */
struct net_conn *net_conn_new(struct loop *loop, int fd, const struct net_conn_options *options);

/* How many of them have a peer with this address, whatever its port. A network of 64 bits is one
 * address of IPv6: so much is given to one customer. */
size_t net_conn_count_from(const struct list *siblings, const struct sockaddr_storage *peer);

/* Whether net_conn_start() was called. */
bool net_conn_is_started(const struct net_conn *conn);

/* Lets all connections of `siblings` live on without it. */
void net_conn_orphan_all(struct list *siblings);
