#include "base/log.h"
#include "pg/internal.h"

/* ---- connections in use for long ---- */

static int64_t leak_at(const struct pg_lease *conn) {
  return deadline_after(conn->leased_us, conn->pool->config->leak_warn_after_us);
}

static void warn_of_leak(struct pg_lease *conn, int64_t now_us) {
  conn->is_leak_logged = true;
  log_warn("connection in use for long", KV("holder", conn->holder),
           KV("seconds", (double)(now_us - conn->leased_us) / CLOCK_US_PER_S));
}

void pg_watchdog_run(struct pg_pool *pool, int64_t now_us) {
  for (struct list_link *link = pool->states[CONN_LEASED].first; link; link = link->next) {
    struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    if (now_us < leak_at(conn))
      return;
    if (!conn->is_leak_logged)
      warn_of_leak(conn, now_us);
  }
}

int64_t pg_watchdog_next(const struct pg_pool *pool) {
  for (struct list_link *link = pool->states[CONN_LEASED].first; link; link = link->next) {
    const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    if (!conn->is_leak_logged)
      return leak_at(conn);
  }
  return CLOCK_NEVER;
}

/* ---- waits ---- */

/* Under overload every wait is long: one of them is told of in each slow_acquire_after. */
static void tell_of_wait(struct pg_pool *pool, const struct pg_waiter *waiter, const char *event,
                         int64_t now_us) {
  int64_t slow_us = pool->config->slow_acquire_after_us;
  int64_t waited_us = now_us - waiter->since_us;
  bool is_told =
      pool->slow_logged_us != 0 && now_us < deadline_after(pool->slow_logged_us, slow_us);
  if (slow_us == CLOCK_NEVER || is_told)
    return;
  char snapshot[PG_SNAPSHOT_SIZE];
  pool->slow_logged_us = now_us;
  pg_pool_describe(pool, snapshot);
  log_warn(event, KV("holder", waiter->holder), KV("seconds", (double)waited_us / CLOCK_US_PER_S),
           KV("pool", snapshot));
}

void pg_watchdog_waited(struct pg_pool *pool, const struct pg_waiter *waiter, int64_t now_us) {
  if (now_us - waiter->since_us > pool->config->slow_acquire_after_us)
    tell_of_wait(pool, waiter, "slow wait for a connection", now_us);
}

void pg_watchdog_timed_out(struct pg_pool *pool, const struct pg_waiter *waiter, int64_t now_us) {
  tell_of_wait(pool, waiter, "no connection in time", now_us);
}

/* ---- the server's own timeouts ---- */

void pg_watchdog_server_idle(struct pg_pool *pool, const char *sqlstate) {
  if (pool->is_server_idle_logged)
    return;
  pool->is_server_idle_logged = true;
  log_warn("server closes idle connections", KV("sqlstate", sqlstate),
           KV("advice", "set database.conn_max_idle_time below the server's limit"));
}
