#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "pg/internal.h"
#include "pg/socket.h"

enum { PERCENT_ALL = 100 };

/*
 *                                               CHECKING
 *                                                ^   |
 *                                                |   v
 *   EMPTY -> RESOLVING -> CONNECTING -> SETTING -> IDLE <-> LEASED
 *     ^          |            |            |        |         |
 *     |          |            v            v        v         v
 *     +----------+---------CLOSING <-------+--------+---------+
 *
 * CHECKING closes as well. Those with a socket go to EMPTY directly when the server has closed it
 * already.
 */
static const unsigned successors[CONN_STATES] = {
    [CONN_EMPTY] = 1U << CONN_RESOLVING,
    [CONN_RESOLVING] = 1U << CONN_CONNECTING | 1U << CONN_EMPTY,
    [CONN_CONNECTING] = 1U << CONN_SETTING | 1U << CONN_CLOSING | 1U << CONN_EMPTY,
    [CONN_SETTING] = 1U << CONN_IDLE | 1U << CONN_CLOSING | 1U << CONN_EMPTY,
    [CONN_IDLE] = 1U << CONN_LEASED | 1U << CONN_CHECKING | 1U << CONN_CLOSING | 1U << CONN_EMPTY,
    [CONN_CHECKING] = 1U << CONN_IDLE | 1U << CONN_CLOSING | 1U << CONN_EMPTY,
    [CONN_LEASED] = 1U << CONN_IDLE | 1U << CONN_CLOSING | 1U << CONN_EMPTY,
    [CONN_CLOSING] = 1U << CONN_EMPTY,
};

static bool is_dial_state(enum conn_state state) {
  return state == CONN_RESOLVING || state == CONN_CONNECTING || state == CONN_SETTING;
}

static bool is_unused_state(enum conn_state state) {
  return state == CONN_IDLE || state == CONN_CHECKING;
}

static bool is_open_state(enum conn_state state) {
  return state == CONN_IDLE || state == CONN_CHECKING || state == CONN_LEASED;
}

static void count_closed(const struct pg_lease *conn, enum conn_state before) {
  struct pg_pool *pool = conn->pool;
  int64_t now_us = pg_pool_now(pool);
  pool->counters.closed[conn->farewell]++;
  int64_t idle_us = before == CONN_LEASED ? 0 : now_us - conn->idle_since_us;
  log_debug("pool connection closed", KV("reason", pg_close_reason_name(conn->farewell)),
            KV("age_ms", (now_us - conn->born_us) / CLOCK_US_PER_MS),
            KV("idle_ms", idle_us / CLOCK_US_PER_MS), KV("uses", conn->uses),
            KV("sqlstate", conn->sqlstate));
}

void pg_conn_set_state(struct pg_lease *conn, enum conn_state next) {
  struct pg_pool *pool = conn->pool;
  enum conn_state before = conn->state;
  assert(successors[before] & 1U << next);
  list_remove(&pool->states[before], &conn->link);
  conn->state = next;
  if (next == CONN_IDLE)
    list_push_front(&pool->states[next], &conn->link);
  else
    list_push_back(&pool->states[next], &conn->link);
  if (is_open_state(next) && !is_open_state(before))
    pool->counters.opened++;
  if (is_open_state(before) && !is_open_state(next))
    count_closed(conn, before);
  if (is_unused_state(before) || is_unused_state(next))
    pg_shrink_note(pool);
  /* What had to wait because others were out of service may go on. */
  if (before == CONN_CLOSING || is_dial_state(before))
    pg_upkeep_soon(pool);
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
  if (status < 0 || pg_socket_is_over(conn->closing_fd))
    pg_conn_finish_close(conn);
}

static void on_idle_event(struct pg_lease *conn, int status) {
  if (!pg_conn_probe(conn) || status < 0)
    pg_conn_close(conn, PG_CLOSE_BROKEN);
}

static void on_event(void *arg, int status, int events) {
  struct pg_lease *conn = arg;
  if (status >= 0 && events & UV_READABLE)
    pg_pulse_hear(conn->pool);
  switch (conn->state) {
  case CONN_CONNECTING:
    pg_dial_event(conn);
    break;
  case CONN_IDLE:
    on_idle_event(conn, status);
    break;
  case CONN_SETTING:
  case CONN_CHECKING:
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
  case CONN_SETTING:
    pg_dial_timeout(conn);
    break;
  case CONN_CHECKING:
  case CONN_LEASED:
    pg_pipeline_timeout(conn);
    break;
  case CONN_CLOSING:
    conn->pool->counters.close_timeouts++;
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
  pg_conn_condemn(conn, PG_CLOSE_BROKEN);
  return false;
}

/* ---- judging an idle connection ---- */

void pg_conn_condemn(struct pg_lease *conn, enum pg_close_reason reason) {
  if (!conn->is_dead && conn->farewell == PG_CLOSE_BROKEN)
    conn->farewell = reason;
  conn->is_dead = true;
}

void pg_conn_note_sqlstate(struct pg_lease *conn, const char *sqlstate) {
  struct pg_pool *pool = conn->pool;
  enum pg_close_reason reason = pg_sqlstate_farewell(sqlstate);
  if (reason == PG_CLOSE_BROKEN)
    return;
  conn->farewell = reason;
  memcpy(conn->sqlstate, sqlstate, sizeof(conn->sqlstate));
  if (reason == PG_CLOSE_SERVER_IDLE) {
    pg_watchdog_server_idle(pool, sqlstate);
    return;
  }
  if (conn->generation != pool->generation)
    return;
  pool->generation++;
  pg_upkeep_soon(pool);
}

static enum pg_close_reason why_stale(const struct pg_lease *conn) {
  return conn->farewell == PG_CLOSE_BROKEN ? PG_CLOSE_GENERATION : conn->farewell;
}

/* Those that are closing already make room soon. */
static bool is_above_max_open(const struct pg_pool *pool) {
  return pg_pool_open(pool) + pg_pool_dialing(pool) > pool->config->max_open_conns;
}

bool pg_conn_is_usable(const struct pg_lease *conn, int64_t now_us,
                       enum pg_close_reason *ret_reason) {
  const struct pg_pool *pool = conn->pool;
  enum pg_close_reason reason;
  if (conn->is_dead)
    reason = conn->farewell;
  else if (conn->generation != pool->generation)
    reason = why_stale(conn);
  else if (is_above_max_open(pool))
    reason = PG_CLOSE_RESIZE;
  else if (now_us >= conn->die_at_us)
    reason = PG_CLOSE_LIFETIME;
  else if (conn->is_address_gone)
    reason = PG_CLOSE_ADDRESS;
  else
    return true;
  if (ret_reason)
    *ret_reason = reason;
  return false;
}

bool pg_conn_needs_ping(const struct pg_lease *conn, int64_t now_us) {
  return now_us >= deadline_after(conn->idle_since_us, conn->pool->config->validate_after_idle_us);
}

/* Early by a random part, so that connections made together do not all end together. */
void pg_conn_set_death(struct pg_lease *conn) {
  const struct config_database *config = conn->pool->config;
  conn->die_at_us = CLOCK_NEVER;
  if (config->conn_max_lifetime_us == CLOCK_NEVER)
    return;
  double jitter = (double)config->conn_lifetime_jitter / PERCENT_ALL;
  double share = (double)conn->jitter_share / PG_JITTER_SHARES;
  double early_us = (double)config->conn_max_lifetime_us * jitter * share;
  conn->die_at_us = deadline_after(conn->born_us, config->conn_max_lifetime_us - (int64_t)early_us);
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
  if (conn->is_awaited)
    loop_defer(conn->pool->loop, &conn->gone_task);
  conn->is_awaited = false;
}

static void finish_pq(struct pg_lease *conn) {
  pg_pipeline_reset(conn);
  pg_conn_unwatch(conn);
  PQfinish(conn->pq);
  conn->pq = NULL;
}

void pg_conn_close(struct pg_lease *conn, enum pg_close_reason reason) {
  int fd = conn->pq ? PQsocket(conn->pq) : -1;
  int copy = fd < 0 ? -1 : pg_socket_copy(fd);
  pg_pulse_forget(conn);
  pg_conn_condemn(conn, reason);
  finish_pq(conn);
  if (fd < 0) {
    become_empty(conn);
    return;
  }
  pg_conn_set_state(conn, CONN_CLOSING);
  pg_conn_arm(conn, deadline_after(pg_pool_now(conn->pool), conn->pool->config->close_timeout_us));
  conn->closing_fd = copy;
  /* Without a copy nothing tells when the server closed: the slot waits for its timer. */
  if (copy < 0)
    return;
  /* Our copy would keep the stream open for the server otherwise. */
  pg_socket_half_close(copy);
  conn->watch = pg_watch_open(conn->pool->loop, copy, on_event, conn);
  if (conn->watch)
    pg_watch_set(conn->watch, UV_READABLE);
}

void pg_conn_finish_close(struct pg_lease *conn) {
  pg_conn_unwatch(conn);
  if (conn->closing_fd >= 0)
    pg_socket_close(conn->closing_fd);
  conn->closing_fd = -1;
  become_empty(conn);
}

void pg_conn_cut(struct pg_lease *conn) {
  pg_conn_unwatch(conn);
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_conn_condemn(conn, PG_CLOSE_SHUTDOWN);
  PQfinish(conn->pq);
  conn->pq = NULL;
}

struct pg_lease *pg_conn_new(struct pg_pool *pool) {
  struct pg_lease *conn = xcalloc(1, sizeof(*conn));
  conn->pool = pool;
  conn->deadline_us = CLOCK_NEVER;
  conn->closing_fd = -1;
  loop_timer_init(&conn->timer, pool->loop, on_timer, conn);
  pg_pipeline_init(conn);
  list_push_back(&pool->states[CONN_EMPTY], &conn->link);
  return conn;
}
