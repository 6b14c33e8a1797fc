#include "pg/internal.h"

static void describe_timeout(struct pg_pool *pool, struct error *err) {
  char snapshot[PG_SNAPSHOT_SIZE];
  pg_pool_describe(pool, snapshot);
  const struct governor *governor = &pool->governor;
  error_set(err, ERR_TIMEOUT, "no database connection in time: %s; last dial error: %s", snapshot,
            governor->is_failing || governor->probe_at_us != CLOCK_NEVER ? governor->error.text
                                                                         : "none");
}

static void describe_outage(struct pg_pool *pool, struct error *err) {
  const struct governor *governor = &pool->governor;
  int64_t since_us = deadline_min(governor->down_since_us, governor->failed_at_us);
  bool is_answered = governor->failure == PG_DIAL_AUTH || governor->failure == PG_DIAL_SESSION;
  error_set(err, ERR_UNAVAILABLE, "%s for %.1f s: %s",
            is_answered ? "PostgreSQL has refused our log-in" : "PostgreSQL has been out of reach",
            (double)(pg_pool_now(pool) - since_us) / CLOCK_US_PER_S, governor->error.text);
}

static void describe_failure(struct pg_pool *pool, const struct pg_waiter *waiter,
                             struct error *err) {
  switch (waiter->result) {
  case PG_ACQUIRE_TIMEOUT:
    describe_timeout(pool, err);
    break;
  case PG_ACQUIRE_DOWN:
    describe_outage(pool, err);
    break;
  case PG_ACQUIRE_QUEUE_FULL:
    error_set(err, ERR_EXHAUSTED, "%d requests wait for a database connection already",
              (int)pool->waiters.queued.count);
    break;
  default:
    error_set(err, ERR_CANCELED, "the connection pool is closing");
    break;
  }
}

static void deliver(struct pg_pool *pool, struct pg_waiter *waiter) {
  pg_acquire_cb *cb = waiter->cb;
  void *arg = waiter->arg;
  struct pg_lease *conn = waiter->conn;
  struct error err; /* half a KiB: filled when there is one */
  if (!conn)
    describe_failure(pool, waiter, &err);
  pg_waiter_give_back(&pool->waiters, waiter);
  cb(arg, conn, conn ? NULL : &err);
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
