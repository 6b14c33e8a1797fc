#include "pg/internal.h"

/* ---- signs of life ---- */

static void close_silent(struct pg_lease *conn) {
  /* That it was a ping says more than that its deadline passed; less than what the server said. */
  if (conn->farewell == PG_CLOSE_DEADLINE || conn->farewell == PG_CLOSE_BROKEN)
    conn->farewell = PG_CLOSE_PING_FAILED;
  pg_conn_close(conn, PG_CLOSE_PING_FAILED);
}

static void on_answer(void *arg, const struct pg_outcome *outcome) {
  struct pg_lease *conn = arg;
  struct pg_pool *pool = conn->pool;
  if (outcome->kind == PG_OK) {
    pool->counters.pings_ok++;
    pg_pool_put_idle(pool, conn, pg_pool_now(pool));
    return;
  }
  pool->counters.pings_failed++;
  close_silent(conn);
}

static void on_pulse(void *arg, const struct pg_outcome *outcome) {
  struct pg_lease *conn = arg;
  if (outcome->kind == PG_OK)
    pg_pool_leave_idle(conn->pool, conn, pg_pool_now(conn->pool));
  else
    close_silent(conn);
}

void pg_ping_for_pulse(struct pg_lease *conn, int64_t deadline_us) {
  static const struct pg_pipeline_cb cb = {.on_done = on_pulse};
  pg_conn_set_state(conn, CONN_CHECKING);
  pg_run(conn, deadline_us, &cb, conn);
}

/* A pipeline without statements: the server answers its sync, and does nothing else. */
static void ping(struct pg_lease *conn, int64_t now_us) {
  static const struct pg_pipeline_cb cb = {.on_done = on_answer};
  pg_conn_set_state(conn, CONN_CHECKING);
  pg_run(conn, deadline_after(now_us, conn->pool->config->ping_timeout_us), &cb, conn);
}

void pg_ping_run(struct pg_pool *pool, int64_t now_us) {
  struct list_link *link;
  while ((int)pool->waiters.queued.count > pg_pool_count(pool, CONN_CHECKING) &&
         (link = pool->states[CONN_IDLE].first))
    ping(LIST_ENTRY(link, struct pg_lease, link), now_us);
}
