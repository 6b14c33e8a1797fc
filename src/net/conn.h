/*
 * conn: one accepted TCP connection: bytes in, bytes out, one write per loop turn.
 *
 * The user (an HTTP/2 session) is given bytes as they come and is asked for bytes when the socket
 * can take them; it never touches the socket. With TLS neither happens before the handshake is
 * done: a user who bounds the time to its first bytes bounds that as well. Loop thread only.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "net/peer_names.h"

struct net_conn;

/* A turn's output is gathered up to this before it is written (nghttp2 hands over one frame at a
 * time; measured: one write per frame costs several times the CPU). */
#define NET_WRITE_GATHER_BYTES ((size_t)64 * 1024)
/* Most that is read at once. */
#define NET_READ_BYTES ((size_t)64 * 1024)

struct net_conn_ops {
  /* Bytes arrived (1 to NET_READ_BYTES). Return 0, or -1 to close. */
  int (*on_read)(void *user, const uint8_t *data, size_t len);
  /* Append what is to be sent, stopping at about NET_WRITE_GATHER_BYTES. Return 0; or -1 to close
   * once what was appended is written. */
  int (*on_produce)(void *user, struct buf *out);
  /* The connection is gone, for whatever reason; called exactly once, from the loop, last of all.
   * `reason` is a static text. */
  void (*on_close)(void *user, const char *reason);
};

/* Sets what the connection calls. Called once, inside the listener's accept callback. */
void net_conn_start(struct net_conn *conn, const struct net_conn_ops *ops, void *user);

/* What is queued to be written is taken from `budget`, which outlives the connection up to its
 * on_close. Before anything was. */
void net_conn_count(struct net_conn *conn, struct budget *budget);

/* Asks for on_produce at the end of this loop turn (or as soon as the socket can take bytes). */
void net_conn_want_write(struct net_conn *conn);

/* Stops and resumes reading, for back-pressure. */
void net_conn_pause_read(struct net_conn *conn);
void net_conn_resume_read(struct net_conn *conn);

/* Within on_read, the monotonic time when reading began: opening TLS's records is work for the peer
 * as well. */
int64_t net_conn_read_began_us(const struct net_conn *conn);

/* Closes soon; on_close follows. Safe to call twice. With `flush`, what is queued is written first
 * and the peer is given up to a second, and 256 KiB that it may still send, to read it (RFC 9112,
 * 9.6: a close with unread input would reset the connection and lose the last bytes). */
void net_conn_close(struct net_conn *conn, bool flush, const char *reason);

/* "192.0.2.7:4711", for logs. */
const char *net_conn_peer(const struct net_conn *conn);

/* "192.0.2.7", without the port. */
struct str net_conn_peer_address(const struct net_conn *conn);

/* What the peer's certificate, which was verified, calls it; read once, after the handshake. NULL:
 * it showed none. */
const struct peer_names *net_conn_peer_names(const struct net_conn *conn);
