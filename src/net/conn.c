/*
 * States of a connection:
 *
 *   SHAKING (with TLS) ──handshake done──▶ OPEN
 *
 *   OPEN ──close(flush), or on_produce said so──▶ FLUSHING ──all written──▶ DRAINING
 *     │                                              │                         │
 *     └──close, error, timeout──▶ CLOSED ◀───error, timeout───┴──EOF, error, 1 s────┘
 *
 * CLOSED closes the socket at once; libuv gives the handles back a little later, and then on_close
 * runs and the memory goes.
 */
#include "net/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log_sample.h"
#include "net/accepted.h"
#include "net/transport.h"

/* Of TLS in a turn: to open one costs 2 µs and more, though it hold a single byte. Those of 1 KiB
 * still fill what is read at once, as do those that Go's clients begin with (1,400 bytes). */
#define MAX_RECORDS       64
#define SUBJECT_TEXT_SIZE 256
#define DRAIN_TIMEOUT_US  1000000
/* A handshake has its turn for so long while others wait for theirs, and goes on in the next one:
 * hundreds that never go on delay a new one by a third of a second. */
#define SHAKE_TURN_US 100000
/* Of what still comes in then. A peer that sends more isn't reading: taking a flood to its end kept
 * a core busy and halved the calls of others (measured by tests/integration/test_abuse.py). */
#define DRAIN_MAX_BYTES ((size_t)256 * 1024)
/* Gathering stops after the frame that passes the mark; frames are at most 16 KiB here. */
#define OUT_MAX_BYTES (2 * NET_WRITE_GATHER_BYTES)
/* An output buffer larger than this isn't kept for turns that need little. */
#define OUT_KEEP_BYTES ((size_t)16 * 1024)

#define IPV6_NETWORK_BYTES 8

enum conn_state { CONN_SHAKING, CONN_OPEN, CONN_FLUSHING, CONN_DRAINING, CONN_CLOSED };

struct net_conn {
  struct list_link link; /* in *siblings, while that isn't NULL */
  struct list *siblings; /* borrowed from the listener */
  struct loop *loop;     /* borrowed */
  struct transport transport;
  struct tls_context *tls; /* borrowed; NULL: plain */
  struct tls_turn turn;    /* to shake hands */
  uv_poll_t poll;
  int polled_events; /* what the poll handle watches now */
  struct loop_task write_task;
  struct loop_task read_task; /* for what the socket doesn't report */
  struct loop_timer timer;    /* of the handshake's turn; of write progress; in DRAINING of that */
  int64_t write_timeout_us;
  int open_handles; /* poll and timer, until libuv gave them back */
  enum conn_state state;
  int64_t read_began_us; /* the turn in which bytes are read */
  bool is_read_paused;
  bool waits_writable;
  size_t drained_bytes; /* in DRAINING */
  struct buf out;
  const struct net_conn_ops *ops;
  void *user;
  const char *reason;              /* why it closes; the first one given */
  struct sockaddr_storage address; /* of the peer */
  char peer[NET_PEER_TEXT_SIZE];
  struct peer_names *names; /* owned; NULL: the peer showed no certificate */
};

/* ---- closing ---- */

static void conn_release_handle(struct net_conn *conn) {
  if (--conn->open_handles > 0)
    return;
  buf_deinit(&conn->out);
  if (conn->ops)
    conn->ops->on_close(conn->user, conn->reason);
  free(conn->names);
  free(conn);
}

static void on_poll_closed(uv_handle_t *handle) {
  conn_release_handle((struct net_conn *)handle->data);
}

static void on_timer_closed(void *arg) {
  conn_release_handle((struct net_conn *)arg);
}

static void conn_leave_siblings(struct net_conn *conn) {
  if (conn->siblings)
    list_remove(conn->siblings, &conn->link);
  conn->siblings = NULL;
}

/* The poll handle is stopped before its fd is closed: a stale fd would fire for ever. */
static void conn_shut(struct net_conn *conn, const char *reason) {
  if (conn->state == CONN_CLOSED)
    return;
  conn->state = CONN_CLOSED;
  if (!conn->reason)
    conn->reason = reason;
  conn_leave_siblings(conn);
  if (conn->tls)
    tls_turn_end(conn->tls, &conn->turn);
  loop_cancel(conn->loop, &conn->write_task);
  loop_cancel(conn->loop, &conn->read_task);
  uv_poll_stop(&conn->poll);
  uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
  loop_timer_close(&conn->timer, on_timer_closed, conn);
  transport_close(&conn->transport);
}

/* ---- watching ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static bool conn_wants_read(const struct net_conn *conn) {
  if (conn->state == CONN_SHAKING)
    return conn->turn.state == TLS_TURN_HERE;
  return conn->state == CONN_DRAINING || (conn->state == CONN_OPEN && !conn->is_read_paused);
}

static void conn_watch(struct net_conn *conn) {
  int events = 0;
  if (conn->state == CONN_CLOSED)
    return;
  if (conn_wants_read(conn))
    events |= conn->transport.read_waits_for;
  if (conn->waits_writable)
    events |= conn->transport.write_waits_for;
  /* Without reading, its end wouldn't be seen. */
  if (conn->state == CONN_OPEN && conn->is_read_paused)
    events |= UV_DISCONNECT;
  if (events == conn->polled_events)
    return;
  conn->polled_events = events;
  int rc = events ? uv_poll_start(&conn->poll, events, on_poll) : uv_poll_stop(&conn->poll);
  if (rc != 0)
    conn_shut(conn, "can't be watched");
}

static void conn_arm_timer(struct net_conn *conn, int64_t delay_us) {
  int64_t now = clock_monotonic_us(conn->loop->clock);
  loop_timer_set(&conn->timer, delay_us < CLOCK_NEVER - now ? now + delay_us : CLOCK_NEVER);
}

static void conn_begin_turn(struct net_conn *conn) {
  conn_arm_timer(conn, SHAKE_TURN_US);
  conn_watch(conn);
}

/* What the handshake has reached is kept, and what the peer sends is in the socket. */
static void conn_end_turn(struct net_conn *conn) {
  if (!tls_turn_yield(conn->tls, &conn->turn))
    conn_arm_timer(conn, SHAKE_TURN_US);
  conn_watch(conn);
}

static void on_timer(void *arg) {
  struct net_conn *conn = arg;
  if (conn->state == CONN_SHAKING)
    conn_end_turn(conn);
  else
    conn_shut(conn, "the peer took no bytes in time");
}

/* ---- writing ---- */

/* All is written: tell the peer so, and give it time to read and to close. */
static void conn_begin_drain(struct net_conn *conn) {
  if (!transport_end(&conn->transport)) {
    conn_shut(conn, "closed");
    return;
  }
  conn->state = CONN_DRAINING;
  conn_arm_timer(conn, DRAIN_TIMEOUT_US);
  conn_watch(conn);
}

static void conn_produce(struct net_conn *conn) {
  if (conn->state != CONN_OPEN || buf_len(&conn->out) >= NET_WRITE_GATHER_BYTES)
    return;
  int rc = conn->ops->on_produce(conn->user, &conn->out);
  if (rc != 0)
    net_conn_close(conn, true, "finished");
}

static void conn_send(struct net_conn *conn) {
  if (buf_len(&conn->out) == 0)
    return;
  ssize_t n = transport_write(&conn->transport, buf_bytes(&conn->out), buf_len(&conn->out));
  if (n >= 0)
    buf_consume(&conn->out, (size_t)n);
  else if (n == TRANSPORT_FAILED)
    conn_shut(conn, "write failed");
}

static void conn_trim_out(struct net_conn *conn, size_t len) {
  if (conn->out.cap <= OUT_KEEP_BYTES || len >= OUT_KEEP_BYTES / 4)
    return;
  buf_deinit(&conn->out);
}

/* One write a turn. A full gather waits for the socket to report room, even when the kernel took
 * all of it: so one busy connection doesn't hold up the others, and TCP_NOTSENT_LOWAT applies. */
static void conn_write_turn(void *arg) {
  struct net_conn *conn = arg;
  conn_produce(conn);
  if (conn->state == CONN_CLOSED)
    return;
  size_t len = buf_len(&conn->out);
  conn_send(conn);
  if (conn->state == CONN_CLOSED)
    return;
  bool may_have_more = conn->state == CONN_OPEN && len >= NET_WRITE_GATHER_BYTES;
  bool waited = conn->waits_writable;
  conn->waits_writable = buf_len(&conn->out) > 0 || may_have_more;
  if (conn->waits_writable && (!waited || buf_len(&conn->out) < len)) {
    conn_arm_timer(conn, conn->write_timeout_us);
  } else if (!conn->waits_writable) {
    if (waited)
      loop_timer_set(&conn->timer, CLOCK_NEVER);
    conn_trim_out(conn, len);
  }
  if (conn->state == CONN_FLUSHING && !conn->waits_writable)
    conn_begin_drain(conn);
  else
    conn_watch(conn);
}

/* ---- reading ---- */

static void conn_read_on(struct net_conn *conn) {
  if (conn_wants_read(conn) && transport_has_pending(&conn->transport))
    loop_defer(conn->loop, &conn->read_task);
  conn_watch(conn);
}

/* With TLS a record comes at a time: several are gathered. Those that aren't taken stay in the
 * socket, which reports them again; the rest of one that is left in OpenSSL then, or behind a
 * pause, it doesn't. */
static void conn_read_turn(void *arg) {
  struct net_conn *conn = arg;
  uint8_t data[NET_READ_BYTES];
  const char *reason = "closed by the peer";
  size_t len = 0;
  ssize_t n = 0;
  int records = 0;
  conn->read_began_us = clock_monotonic_us(conn->loop->clock);
  do {
    n = transport_read(&conn->transport, data + len, sizeof(data) - len, &reason);
    len += n > 0 ? (size_t)n : 0;
    records++;
  } while (n > 0 && conn->tls && len < sizeof(data) && records < MAX_RECORDS);
  if (conn->state == CONN_DRAINING)
    conn->drained_bytes += len;
  if (len > 0 && conn->state == CONN_OPEN && conn->ops->on_read(conn->user, data, len) != 0)
    conn_shut(conn, "refused what the peer sent");
  else if (conn->drained_bytes > DRAIN_MAX_BYTES)
    conn_shut(conn, "the peer went on sending");
  else if (n == TRANSPORT_END || n == TRANSPORT_FAILED)
    conn_shut(conn, reason);
  else
    conn_read_on(conn);
}

/* ---- shaking hands ---- */

static void log_handshake(const struct net_conn *conn) {
  char subject[SUBJECT_TEXT_SIZE];
  transport_peer_subject(&conn->transport, subject, sizeof(subject));
  const struct log_cause cause = {.level = LOG_DEBUG,
                                  .event = "TLS established",
                                  .peer = conn->peer,
                                  .detail = KV("subject", (const char *)subject)};
  const struct log_kv version = KV("version", transport_version(&conn->transport));
  log_sampled(conn->loop, &cause, &version, 1);
}

static void log_failed_handshake(const struct net_conn *conn, const char *reason) {
  const struct log_kv fields[] = {
      KV("certificate", transport_refusal(&conn->transport)),
      KV("subject", transport_refused_subject(&conn->transport)),
  };
  const struct log_cause cause = {.level = LOG_INFO,
                                  .event = "TLS handshake failed",
                                  .peer = conn->peer,
                                  .detail = KV("reason", reason)};
  log_sampled(conn->loop, &cause, fields, 2);
}

/* A failed one has left an alert in the socket, which the peer is given time to read. */
static void conn_shake(struct net_conn *conn) {
  const char *reason = NULL;
  int rc = transport_handshake(&conn->transport, &reason);
  if (rc == TRANSPORT_WAIT) {
    conn_watch(conn);
    return;
  }
  tls_turn_end(conn->tls, &conn->turn);
  loop_timer_set(&conn->timer, CLOCK_NEVER);
  if (rc == TRANSPORT_FAILED) {
    log_failed_handshake(conn, reason);
    conn->reason = "TLS handshake failed";
    conn_begin_drain(conn);
    return;
  }
  log_handshake(conn);
  conn->names = transport_peer_names(&conn->transport);
  conn->state = CONN_OPEN;
  loop_defer(conn->loop, &conn->write_task);
  conn_read_on(conn);
}

/* Not shaken here: it may run inside of another connection's end. */
static void on_turn(struct tls_turn *turn) {
  conn_begin_turn(LIST_ENTRY(turn, struct net_conn, turn));
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct net_conn *conn = poll->data;
  if (status < 0) {
    conn_shut(conn, "socket error");
    return;
  }
  if (conn->state == CONN_SHAKING) {
    conn_shake(conn);
    return;
  }
  if (conn->state == CONN_OPEN && conn->is_read_paused && (events & UV_DISCONNECT)) {
    conn_shut(conn, "closed by the peer");
    return;
  }
  if (conn_wants_read(conn) && (events & conn->transport.read_waits_for))
    conn_read_turn(conn);
  if (conn->state != CONN_CLOSED && conn->waits_writable &&
      (events & conn->transport.write_waits_for))
    loop_defer(conn->loop, &conn->write_task);
}

/* ---- life cycle ---- */

void net_peer_format(const struct sockaddr_storage *peer, char ret_text[NET_PEER_TEXT_SIZE]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (peer->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
    inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
    snprintf(ret_text, NET_PEER_TEXT_SIZE, "[%s]:%u", host, (unsigned)ntohs(in6->sin6_port));
  } else {
    const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
    snprintf(ret_text, NET_PEER_TEXT_SIZE, "%s:%u", host, (unsigned)ntohs(in->sin_port));
  }
}

struct net_conn *net_conn_new(struct loop *loop, int fd, const struct net_conn_options *options) {
  struct net_conn *conn = xcalloc(1, sizeof(*conn));
  if (!transport_init(&conn->transport, fd, options->tls)) {
    close(fd);
    free(conn);
    return NULL;
  }
  if (uv_poll_init(loop->uv, &conn->poll, fd) != 0) {
    transport_close(&conn->transport);
    free(conn);
    return NULL;
  }
  conn->poll.data = conn;
  conn->loop = loop;
  conn->open_handles = 2;
  conn->write_timeout_us = options->write_timeout_us;
  conn->write_task.cb = conn_write_turn;
  conn->write_task.arg = conn;
  conn->read_task.cb = conn_read_turn;
  conn->read_task.arg = conn;
  loop_timer_init(&conn->timer, loop, on_timer, conn);
  buf_init(&conn->out, OUT_MAX_BYTES);
  conn->address = *options->peer;
  net_peer_format(options->peer, conn->peer);
  conn->siblings = options->siblings;
  list_push_back(conn->siblings, &conn->link);
  conn->state = CONN_OPEN;
  if (options->tls) {
    conn->state = CONN_SHAKING;
    conn->tls = options->tls;
    conn->turn.begin = on_turn;
    if (tls_turn_take(conn->tls, &conn->turn))
      conn_arm_timer(conn, SHAKE_TURN_US);
  }
  return conn;
}

void net_conn_orphan_all(struct list *siblings) {
  while (siblings->first)
    conn_leave_siblings(LIST_ENTRY(siblings->first, struct net_conn, link));
}

static bool is_same_network(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  if (a->ss_family != b->ss_family)
    return false;
  if (a->ss_family != AF_INET6)
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
  return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                &((const struct sockaddr_in6 *)b)->sin6_addr, IPV6_NETWORK_BYTES) == 0;
}

size_t net_conn_count_from(const struct list *siblings, const struct sockaddr_storage *peer) {
  size_t count = 0;
  for (struct list_link *link = siblings->first; link; link = link->next)
    count += is_same_network(&LIST_ENTRY(link, struct net_conn, link)->address, peer);
  return count;
}

bool net_conn_is_started(const struct net_conn *conn) {
  return conn->ops != NULL;
}

void net_conn_start(struct net_conn *conn, const struct net_conn_ops *ops, void *user) {
  assert(!conn->ops);
  conn->ops = ops;
  conn->user = user;
  if (conn->state != CONN_CLOSED)
    conn_watch(conn);
}

void net_conn_count(struct net_conn *conn, struct budget *budget) {
  buf_init_counted(&conn->out, OUT_MAX_BYTES, budget);
}

void net_conn_want_write(struct net_conn *conn) {
  if (conn->state == CONN_OPEN && !conn->waits_writable)
    loop_defer(conn->loop, &conn->write_task);
}

void net_conn_pause_read(struct net_conn *conn) {
  conn->is_read_paused = true;
  loop_cancel(conn->loop, &conn->read_task);
  if (conn->state == CONN_OPEN)
    conn_watch(conn);
}

void net_conn_resume_read(struct net_conn *conn) {
  conn->is_read_paused = false;
  if (conn->state == CONN_OPEN)
    conn_read_on(conn);
}

void net_conn_close(struct net_conn *conn, bool flush, const char *reason) {
  if (conn->state == CONN_CLOSED)
    return;
  if (!conn->reason)
    conn->reason = reason;
  if (!flush || conn->state == CONN_SHAKING) {
    conn_shut(conn, reason);
  } else if (conn->state == CONN_OPEN) {
    conn->state = CONN_FLUSHING;
    if (!conn->waits_writable)
      loop_defer(conn->loop, &conn->write_task);
  }
}

int64_t net_conn_read_began_us(const struct net_conn *conn) {
  return conn->read_began_us;
}

const char *net_conn_peer(const struct net_conn *conn) {
  return conn->peer;
}

const struct peer_names *net_conn_peer_names(const struct net_conn *conn) {
  return conn->names;
}

struct str net_conn_peer_address(const struct net_conn *conn) {
  struct str host = str_of(conn->peer, (size_t)(strrchr(conn->peer, ':') - conn->peer));
  return host.data[0] == '[' ? str_of(host.data + 1, host.len - 2) : host;
}
