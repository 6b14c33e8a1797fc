#include <stdlib.h>

#include "base/alloc.h"
#include "pg/internal.h"

void pg_waiters_init(struct waiters *waiters, const struct config_database *config) {
  /* Queued ones, and ones that hold a connection their callback hasn't been given yet. */
  size_t count = (size_t)config->max_waiters + (size_t)config->max_open_conns;
  *waiters =
      (struct waiters){.all = xcalloc(count, sizeof(*waiters->all)), .deadline_us = CLOCK_NEVER};
  for (size_t i = 0; i < count; i++)
    list_push_back(&waiters->free, &waiters->all[i].link);
}

void pg_waiters_deinit(struct waiters *waiters) {
  assert(waiters->queued.count == 0);
  assert(waiters->settled.count == 0);
  free(waiters->all);
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
  bool is_extra = !link;
  struct pg_waiter *waiter =
      is_extra ? xcalloc(1, sizeof(*waiter)) : LIST_ENTRY(link, struct pg_waiter, link);
  *waiter = (struct pg_waiter){.is_extra = is_extra};
  return waiter;
}

void pg_waiter_give_back(struct waiters *waiters, struct pg_waiter *waiter) {
  move(waiter, NULL);
  if (waiter->is_extra)
    free(waiter);
  else
    list_push_front(&waiters->free, &waiter->link);
}

void pg_waiter_queue(struct waiters *waiters, struct pg_waiter *waiter) {
  move(waiter, &waiters->queued);
  waiters->deadline_us = deadline_min(waiters->deadline_us, waiter->deadline_us);
}

static void settle(struct pg_pool *pool, struct pg_waiter *waiter) {
  if (waiter->list == &pool->waiters.queued)
    pool->counters.wait_us += pg_pool_now(pool) - waiter->since_us;
  move(waiter, &pool->waiters.settled);
  pg_pool_kick(pool);
}

void pg_waiter_serve(struct pg_pool *pool, struct pg_waiter *waiter, struct pg_lease *conn) {
  waiter->conn = conn;
  conn->holder = waiter->holder;
  conn->leased_us = pg_pool_now(pool);
  pg_conn_set_state(conn, CONN_LEASED);
  pool->counters.acquires++;
  settle(pool, waiter);
}

void pg_waiter_fail(struct pg_pool *pool, struct pg_waiter *waiter, enum error_code why) {
  waiter->failure = why;
  if (why == ERR_TIMEOUT)
    pool->counters.timeouts++;
  settle(pool, waiter);
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
    if (waiter->deadline_us <= now_us)
      pg_waiter_fail(pool, waiter, ERR_TIMEOUT);
    else
      waiters->deadline_us = deadline_min(waiters->deadline_us, waiter->deadline_us);
  }
}

void pg_waiters_fail_all(struct pg_pool *pool, enum error_code why) {
  struct list *queued = &pool->waiters.queued;
  while (queued->first)
    pg_waiter_fail(pool, LIST_ENTRY(queued->first, struct pg_waiter, link), why);
}
