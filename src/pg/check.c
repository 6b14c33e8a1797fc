#include <assert.h>

#include "pg/internal.h"

static void check_deadlines(const struct pg_pool *pool, enum conn_state state) {
  for (struct list_link *link = pool->states[state].first; link; link = link->next) {
    const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    /* An outcome that is known is told in this turn. */
    assert(conn->deadline_us != CLOCK_NEVER || conn->pipeline.phase == PIPELINE_DONE);
  }
}

static void check_idle(const struct pg_pool *pool, int64_t now_us) {
  for (struct list_link *link = pool->states[CONN_IDLE].first; link; link = link->next) {
    const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    assert(conn->pipeline.phase == PIPELINE_NONE);
    assert(conn->watch);
    assert(pool->waiters.queued.count == 0 || pg_conn_needs_ping(conn, now_us) ||
           !pg_conn_is_usable(conn, now_us, NULL));
  }
}

void pg_pool_check(const struct pg_pool *pool, int64_t now_us) {
  size_t slots = 0;
  for (int state = 0; state < CONN_STATES; state++)
    slots += pool->states[state].count;
  assert(slots == (size_t)pool->conn_count);
  assert(pool->counters.opened - pg_stats_closed(&pool->counters) == pg_pool_open(pool));
  check_deadlines(pool, CONN_CONNECTING);
  check_deadlines(pool, CONN_SETTING);
  check_deadlines(pool, CONN_CHECKING);
  check_deadlines(pool, CONN_CLOSING);
  check_idle(pool, now_us);
}
