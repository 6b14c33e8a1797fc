#include <assert.h>

#include "pg/internal.h"

/* Only what stayed unused for a whole window is closed by max_idle_conns. Closing at once would
 * make every burst of requests dial again, at a hundred times the cost of keeping a connection. */
#define IDLE_LOOKBACK_US 1000000

static bool is_above_max_idle(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_IDLE) > pool->config->max_idle_conns;
}

static void open_window(struct pg_pool *pool) {
  pool->shrink.least_idle = pool->states[CONN_IDLE].count;
  pool->shrink.ends_at_us = pg_after(pg_pool_now(pool), IDLE_LOOKBACK_US);
}

void pg_shrink_note(struct pg_pool *pool) {
  struct shrink *shrink = &pool->shrink;
  if (shrink->ends_at_us != CLOCK_NEVER) {
    if (pool->states[CONN_IDLE].count < shrink->least_idle)
      shrink->least_idle = pool->states[CONN_IDLE].count;
  } else if (is_above_max_idle(pool)) {
    open_window(pool);
  }
}

/* The one used longest ago. */
static struct pg_lease *idle_bottom(const struct pg_pool *pool) {
  return LIST_ENTRY(pool->states[CONN_IDLE].last, struct pg_lease, link);
}

static void shrink_run(struct pg_pool *pool, int64_t now_us) {
  struct shrink *shrink = &pool->shrink;
  if (now_us < shrink->ends_at_us)
    return;
  int unused = (int)shrink->least_idle;
  for (; unused > pool->config->max_idle_conns && pool->states[CONN_IDLE].last; unused--)
    pg_conn_close(idle_bottom(pool));
  shrink->ends_at_us = CLOCK_NEVER;
  if (is_above_max_idle(pool))
    open_window(pool);
}

/* When this idle connection is to be closed whatever the others do. */
static int64_t ends_at(const struct pg_lease *conn) {
  const struct pg_pool *pool = conn->pool;
  if (conn->generation != pool->generation)
    return 0;
  return deadline_min(conn->die_at_us,
                      pg_after(conn->idle_since_us, pool->config->conn_max_idle_time_us));
}

void pg_upkeep_run(struct pg_pool *pool, int64_t now_us) {
  struct list_link *next;
  for (struct list_link *link = pool->states[CONN_IDLE].first; link; link = next) {
    next = link->next;
    struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    if (ends_at(conn) <= now_us)
      pg_conn_close(conn);
  }
  shrink_run(pool, now_us);
}

int64_t pg_upkeep_next(const struct pg_pool *pool) {
  int64_t next = pool->shrink.ends_at_us;
  for (struct list_link *link = pool->states[CONN_IDLE].first; link; link = link->next)
    next = deadline_min(next, ends_at(LIST_ENTRY(link, struct pg_lease, link)));
  return next;
}

/* ---- invariants ---- */

static void check_deadlines(const struct pg_pool *pool, enum conn_state state) {
  for (struct list_link *link = pool->states[state].first; link; link = link->next)
    assert(LIST_ENTRY(link, struct pg_lease, link)->deadline_us != CLOCK_NEVER);
}

static void check_idle(const struct pg_pool *pool, int64_t now_us) {
  for (struct list_link *link = pool->states[CONN_IDLE].first; link; link = link->next) {
    const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    assert(conn->pipeline.phase == PIPELINE_NONE);
    assert(conn->watch);
    assert(pool->waiters.queued.count == 0 || !pg_conn_is_usable(conn, now_us));
  }
}

void pg_pool_check(const struct pg_pool *pool, int64_t now_us) {
  size_t slots = 0;
  for (int state = 0; state < CONN_STATES; state++)
    slots += pool->states[state].count;
  assert(slots == (size_t)pool->config->max_open_conns);
  assert(pg_pool_dialing(pool) <= pool->config->max_connecting);
  assert(pool->counters.opened - pool->counters.closed == pg_pool_open(pool));
  check_deadlines(pool, CONN_CONNECTING);
  check_deadlines(pool, CONN_CLOSING);
  check_idle(pool, now_us);
}
