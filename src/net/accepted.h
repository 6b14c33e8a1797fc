/*
 * accepted: what the listener needs of a connection beyond conn.h. Private to this folder.
 */
#pragma once

#include <sys/socket.h>

#include "net/conn.h"

/* Takes over `fd`, a connected non-blocking socket. The connection links itself into `siblings` and
 * leaves it when its socket is closed. NULL, with `fd` closed, when the loop can't watch it. */
struct net_conn *net_conn_new(struct loop *loop, int fd, const struct sockaddr_storage *peer,
                              int64_t write_timeout_us, struct list *siblings);

/* Whether net_conn_start() was called. */
bool net_conn_is_started(const struct net_conn *conn);

/* Lets all connections of `siblings` live on without it. */
void net_conn_orphan_all(struct list *siblings);
