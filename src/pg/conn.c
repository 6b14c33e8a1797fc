#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "pg/internal.h"

/* How long a closed connection may hold its slot when the server doesn't close its side. */
#define CLOSE_TIMEOUT_US 2000000

/*
 *   EMPTY -> RESOLVING -> CONNECTING -> IDLE <-> LEASED
 *     ^          |            |          |         |
 *     |          |            v          v         v
 *     +----------+---------CLOSING <-----+---------+
 *
 * Those with a socket go to EMPTY directly when the server has closed it already.
 */
static const struct {
  const char *name;
  unsigned next;
} states[CONN_STATES] = {
    [CONN_EMPTY] = {"empty", 1U << CONN_RESOLVING},
    [CONN_RESOLVING] = {"resolving", 1U << CONN_CONNECTING | 1U << CONN_EMPTY},
    [CONN_CONNECTING] = {"connecting", 1U << CONN_IDLE | 1U << CONN_CLOSING | 1U << CONN_EMPTY},
    [CONN_IDLE] = {"idle", 1U << CONN_LEASED | 1U << CONN_CLOSING | 1U << CONN_EMPTY},
    [CONN_LEASED] = {"leased", 1U << CONN_IDLE | 1U << CONN_CLOSING | 1U << CONN_EMPTY},
    [CONN_CLOSING] = {"closing", 1U << CONN_EMPTY},
};

static bool is_open_state(enum conn_state state) {
  return state == CONN_IDLE || state == CONN_LEASED;
}

void pg_conn_set_state(struct pg_lease *conn, enum conn_state next) {
  struct pg_pool *pool = conn->pool;
  enum conn_state before = conn->state;
  assert(states[before].next & 1U << next);
  list_remove(&pool->states[before], &conn->link);
  conn->state = next;
  if (next == CONN_IDLE)
    list_push_front(&pool->states[next], &conn->link);
  else
    list_push_back(&pool->states[next], &conn->link);
  if (is_open_state(next) && !is_open_state(before))
    pool->counters.opened++;
  if (is_open_state(before) && !is_open_state(next))
    pool->counters.closed++;
  if (before == CONN_IDLE || next == CONN_IDLE)
    pg_shrink_note(pool);
  log_debug("pool connection", KV("slot", conn - pool->conns), KV("from", states[before].name),
            KV("to", states[next].name));
  pg_pool_kick(pool);
}

void pg_conn_arm(struct pg_lease *conn, int64_t deadline_us) {
  if (conn->deadline_us == deadline_us)
    return;
  conn->deadline_us = deadline_us;
  loop_timer_set(&conn->timer, deadline_us);
}

/* ---- the socket ---- */

/* Reads until the server closes: closing with unread input would reset the connection, and the
 * server might not see our end of it in order. */
static void drain_socket(struct pg_lease *conn, int status) {
  char waste[4096];
  ssize_t got = status < 0 ? 0 : recv(conn->closing_fd, waste, sizeof(waste), MSG_DONTWAIT);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
    return;
  pg_conn_finish_close(conn);
}

static void on_idle_event(struct pg_lease *conn, int status) {
  if (!pg_conn_probe(conn) || status < 0)
    pg_conn_close(conn);
}

static void on_event(void *arg, int status, int events) {
  struct pg_lease *conn = arg;
  switch (conn->state) {
  case CONN_CONNECTING:
    pg_dial_event(conn);
    break;
  case CONN_IDLE:
    on_idle_event(conn, status);
    break;
  case CONN_LEASED:
    pg_pipeline_event(conn, status, events);
    break;
  case CONN_CLOSING:
    drain_socket(conn, status);
    break;
  default:
    assert(false);
  }
}

static void on_timer(void *arg) {
  struct pg_lease *conn = arg;
  conn->deadline_us = CLOCK_NEVER;
  switch (conn->state) {
  case CONN_RESOLVING:
  case CONN_CONNECTING:
    pg_dial_timeout(conn);
    break;
  case CONN_LEASED:
    pg_pipeline_timeout(conn);
    break;
  case CONN_CLOSING:
    pg_conn_finish_close(conn);
    break;
  default:
    assert(false);
  }
}

bool pg_conn_watch(struct pg_lease *conn, int events) {
  int fd = PQsocket(conn->pq);
  if (conn->watch && pg_watch_fd(conn->watch) != fd)
    pg_conn_unwatch(conn);
  if (!conn->watch && fd >= 0)
    conn->watch = pg_watch_open(conn->pool->loop, fd, on_event, conn);
  if (!conn->watch)
    return false;
  pg_watch_set(conn->watch, events);
  return true;
}

void pg_conn_unwatch(struct pg_lease *conn) {
  pg_watch_close(conn->watch);
  conn->watch = NULL;
}

static bool has_decrypted_input(const struct pg_lease *conn) {
  void *ssl = PQsslStruct(conn->pq, "OpenSSL");
  return ssl && conn->pool->ssl_pending && conn->pool->ssl_pending(ssl) > 0;
}

bool pg_conn_consume(struct pg_lease *conn) {
  /* One read may leave decrypted bytes inside OpenSSL, and the socket won't announce those. */
  do {
    if (!PQconsumeInput(conn->pq))
      break;
  } while (has_decrypted_input(conn));
  return pg_conn_check(conn);
}

bool pg_conn_check(struct pg_lease *conn) {
  if (!conn->is_dead && PQstatus(conn->pq) == CONNECTION_OK && PQsocket(conn->pq) >= 0)
    return true;
  pg_conn_unwatch(conn);
  conn->is_dead = true;
  return false;
}

/* ---- judging an idle connection ---- */

void pg_conn_note_sqlstate(struct pg_lease *conn, const char *sqlstate) {
  if (!pg_sqlstate_is_shutdown(sqlstate) && strcmp(sqlstate, "25006") != 0)
    return;
  if (conn->generation == conn->pool->generation)
    conn->pool->generation++;
  pg_pool_kick(conn->pool);
}

bool pg_conn_is_usable(const struct pg_lease *conn, int64_t now_us) {
  return conn->generation == conn->pool->generation && now_us < conn->die_at_us;
}

bool pg_conn_probe(struct pg_lease *conn) {
  if (!pg_conn_consume(conn))
    return false;
  /* It parses what came, and so runs the notice receiver, which hears of the server's end first:
   * libpq's own status stays good until the socket ends. */
  (void)PQisBusy(conn->pq);
  return pg_conn_check(conn);
}

/* ---- closing ---- */

static void become_empty(struct pg_lease *conn) {
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_conn_set_state(conn, CONN_EMPTY);
}

static void finish_pq(struct pg_lease *conn) {
  pg_pipeline_reset(conn);
  pg_conn_unwatch(conn);
  PQfinish(conn->pq);
  conn->pq = NULL;
}

void pg_conn_close(struct pg_lease *conn) {
  int fd = conn->pq ? PQsocket(conn->pq) : -1;
  int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
  finish_pq(conn);
  if (fd < 0) {
    become_empty(conn);
    return;
  }
  pg_conn_set_state(conn, CONN_CLOSING);
  pg_conn_arm(conn, pg_after(pg_pool_now(conn->pool), CLOSE_TIMEOUT_US));
  conn->closing_fd = copy;
  /* Without a copy nothing tells when the server closed: the slot waits for its timer. */
  if (copy < 0)
    return;
  /* Our copy would keep the stream open for the server otherwise. */
  shutdown(copy, SHUT_WR);
  conn->watch = pg_watch_open(conn->pool->loop, copy, on_event, conn);
  if (conn->watch)
    pg_watch_set(conn->watch, UV_READABLE);
}

void pg_conn_finish_close(struct pg_lease *conn) {
  pg_conn_unwatch(conn);
  if (conn->closing_fd >= 0)
    close(conn->closing_fd);
  conn->closing_fd = -1;
  become_empty(conn);
}

void pg_conn_cut(struct pg_lease *conn) {
  pg_conn_unwatch(conn);
  pg_conn_arm(conn, CLOCK_NEVER);
  conn->is_dead = true;
  PQfinish(conn->pq);
  conn->pq = NULL;
}

void pg_conn_init(struct pg_lease *conn, struct pg_pool *pool) {
  conn->pool = pool;
  conn->deadline_us = CLOCK_NEVER;
  conn->closing_fd = -1;
  loop_timer_init(&conn->timer, pool->loop, on_timer, conn);
  pg_pipeline_init(conn);
  list_push_back(&pool->states[CONN_EMPTY], &conn->link);
}
