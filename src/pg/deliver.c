#include <stdio.h>

#include "pg/internal.h"

/* Who has kept a connection longest: the first suspect when none comes back. */
static void describe_oldest_lease(const struct pg_pool *pool, char *ret_text, size_t size) {
  const struct list_link *link = pool->states[CONN_LEASED].first;
  ret_text[0] = '\0';
  if (!link)
    return;
  const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
  snprintf(ret_text, size, " (the longest by %s, for %.1f s)", conn->holder,
           (double)(pg_pool_now(pool) - conn->leased_us) / 1e6);
}

static void describe_timeout(struct pg_pool *pool, struct error *err) {
  char oldest[80];
  struct pg_pool_stats stats;
  pg_pool_stats(pool, &stats);
  describe_oldest_lease(pool, oldest, sizeof(oldest));
  const struct governor *governor = &pool->governor;
  error_set(err, ERR_TIMEOUT,
            "no database connection in time: open %d, in use %d%s, idle %d, connecting %d, "
            "closing %d, waiting %d; last dial error: %s",
            stats.open, stats.in_use, oldest, stats.idle, stats.connecting, stats.closing,
            stats.waiting, governor->failures > 0 ? governor->error.text : "none");
}

static void describe_outage(struct pg_pool *pool, struct error *err) {
  const struct governor *governor = &pool->governor;
  int64_t since_us = deadline_min(governor->down_since_us, governor->failed_at_us);
  error_set(err, ERR_UNAVAILABLE, "the database has been out of reach for %.1f s: %s",
            (double)(pg_pool_now(pool) - since_us) / 1e6, governor->error.text);
}

static void describe_failure(struct pg_pool *pool, const struct pg_waiter *waiter,
                             struct error *err) {
  switch (waiter->failure) {
  case ERR_TIMEOUT:
    describe_timeout(pool, err);
    break;
  case ERR_UNAVAILABLE:
    describe_outage(pool, err);
    break;
  case ERR_EXHAUSTED:
    error_set(err, ERR_EXHAUSTED, "%d requests wait for a database connection already",
              pool->config->max_waiters);
    break;
  default:
    error_set(err, waiter->failure, "the connection pool is closing");
    break;
  }
}

static void deliver(struct pg_pool *pool, struct pg_waiter *waiter) {
  struct error err = {0};
  if (!waiter->conn)
    describe_failure(pool, waiter, &err);
  const struct pg_waiter taken = *waiter;
  pg_waiter_give_back(&pool->waiters, waiter);
  taken.cb(taken.arg, taken.conn, taken.conn ? NULL : &err);
}

void pg_waiters_deliver(struct pg_pool *pool) {
  struct list *settled = &pool->waiters.settled;
  struct list_link *link;
  /* Those settled by these callbacks wait for the next turn, so that a user who asks again at once
   * can't keep the loop from its sockets. */
  for (size_t left = settled->count; left > 0 && (link = list_pop_front(settled)); left--) {
    struct pg_waiter *waiter = LIST_ENTRY(link, struct pg_waiter, link);
    waiter->list = NULL;
    deliver(pool, waiter);
  }
  if (settled->count > 0)
    pg_pool_kick(pool);
}
