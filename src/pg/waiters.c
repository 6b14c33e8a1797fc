#include <stdlib.h>

#include "base/alloc.h"
#include "pg/internal.h"

void pg_waiters_init(struct waiters *waiters) {
  *waiters = (struct waiters){.deadline_us = CLOCK_NEVER};
}

void pg_waiters_deinit(struct waiters *waiters) {
  assert(waiters->queued.count == 0);
  assert(waiters->settled.count == 0);
  struct list_link *link;
  while ((link = list_pop_front(&waiters->free)))
    free(LIST_ENTRY(link, struct pg_waiter, link));
}

static void move(struct pg_waiter *waiter, struct list *to) {
  if (waiter->list)
    list_remove(waiter->list, &waiter->link);
  waiter->list = to;
  if (to)
    list_push_back(to, &waiter->link);
}

struct pg_waiter *pg_waiter_take(struct waiters *waiters) {
  struct list_link *link = list_pop_front(&waiters->free);
  struct pg_waiter *waiter =
      link ? LIST_ENTRY(link, struct pg_waiter, link) : xcalloc(1, sizeof(*waiter));
  *waiter = (struct pg_waiter){0};
  return waiter;
}

void pg_waiter_give_back(struct waiters *waiters, struct pg_waiter *waiter) {
  move(waiter, NULL);
  list_push_front(&waiters->free, &waiter->link);
}

void pg_waiter_queue(struct waiters *waiters, struct pg_waiter *waiter) {
  move(waiter, &waiters->queued);
  waiters->deadline_us = deadline_min(waiters->deadline_us, waiter->deadline_us);
}

static void settle(struct pg_pool *pool, struct pg_waiter *waiter, enum pg_acquire_result result) {
  if (waiter->list == &pool->waiters.queued)
    pool->counters.wait_us += pg_pool_now(pool) - waiter->since_us;
  waiter->result = result;
  pool->counters.acquires[result]++;
  move(waiter, &pool->waiters.settled);
  pg_pool_kick(pool);
}

void pg_waiter_serve(struct pg_pool *pool, struct pg_waiter *waiter, struct pg_lease *conn,
                     int64_t now_us) {
  int64_t waited_us = now_us - waiter->since_us;
  waiter->conn = conn;
  conn->holder = waiter->holder;
  conn->leased_us = now_us;
  conn->is_leak_logged = false;
  conn->uses++;
  pg_conn_set_state(conn, CONN_LEASED);
  histogram_add(&pool->counters.acquire_us, waited_us);
  pg_watchdog_waited(pool, waiter, now_us);
  settle(pool, waiter, PG_ACQUIRE_OK);
}

void pg_waiter_fail(struct pg_pool *pool, struct pg_waiter *waiter, enum pg_acquire_result why) {
  settle(pool, waiter, why);
}

void pg_waiter_cancel(struct pg_pool *pool, struct pg_waiter *waiter) {
  if (waiter->list == &pool->waiters.queued) {
    pool->counters.wait_us += pg_pool_now(pool) - waiter->since_us;
    pool->counters.acquires[PG_ACQUIRE_CANCELED]++;
  }
  pg_waiter_give_back(&pool->waiters, waiter);
}

void pg_waiters_expire(struct pg_pool *pool, int64_t now_us) {
  struct waiters *waiters = &pool->waiters;
  if (now_us < waiters->deadline_us)
    return;
  waiters->deadline_us = CLOCK_NEVER;
  struct list_link *next;
  for (struct list_link *link = waiters->queued.first; link; link = next) {
    next = link->next;
    struct pg_waiter *waiter = LIST_ENTRY(link, struct pg_waiter, link);
    if (waiter->deadline_us > now_us) {
      waiters->deadline_us = deadline_min(waiters->deadline_us, waiter->deadline_us);
      continue;
    }
    pg_watchdog_timed_out(pool, waiter, now_us);
    pg_waiter_fail(pool, waiter, PG_ACQUIRE_TIMEOUT);
  }
}

void pg_waiters_fail_all(struct pg_pool *pool, enum pg_acquire_result why) {
  struct list *queued = &pool->waiters.queued;
  while (queued->first)
    pg_waiter_fail(pool, LIST_ENTRY(queued->first, struct pg_waiter, link), why);
}
