#include <assert.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/internal.h"

int64_t pg_pool_now(const struct pg_pool *pool) {
  return clock_monotonic_us(pool->loop->clock);
}

void pg_pool_kick(struct pg_pool *pool) {
  loop_defer(pool->loop, &pool->turn_task);
}

int64_t pg_statement_timeout_us(const struct pg_pool *pool) {
  return pool->config->statement_timeout_us;
}

/* ---- leases ---- */

/* The one used last that is still good; those above it that aren't are closed. None when it has
 * been unused for so long that it must show life first: those below it even more so. */
static struct pg_lease *find_idle(struct pg_pool *pool, int64_t now_us) {
  struct list_link *link;
  while ((link = pool->states[CONN_IDLE].first)) {
    struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    enum pg_close_reason reason = PG_CLOSE_BROKEN;
    if (pg_conn_is_usable(conn, now_us, &reason)) {
      if (pg_conn_needs_ping(conn, now_us))
        return NULL;
      if (pg_conn_probe(conn))
        return conn;
    }
    pg_conn_close(conn, reason);
  }
  return NULL;
}

void pg_pool_serve(struct pg_pool *pool, int64_t now_us) {
  struct list *queued = &pool->waiters.queued;
  struct pg_lease *conn;
  while (queued->first && (conn = find_idle(pool, now_us)))
    pg_waiter_serve(pool, LIST_ENTRY(queued->first, struct pg_waiter, link), conn, now_us);
}

static void serve_from_idle(struct pg_pool *pool, const struct pg_lease *conn, int64_t now_us) {
  pg_upkeep_note(pool, conn);
  pg_pool_serve(pool, now_us);
}

void pg_pool_put_idle(struct pg_pool *pool, struct pg_lease *conn, int64_t now_us) {
  conn->idle_since_us = now_us;
  pg_conn_set_state(conn, CONN_IDLE);
  serve_from_idle(pool, conn, now_us);
}

void pg_pool_leave_idle(struct pg_pool *pool, struct pg_lease *conn, int64_t now_us) {
  pg_conn_set_state(conn, CONN_IDLE);
  list_remove(&pool->states[CONN_IDLE], &conn->link);
  list_push_back(&pool->states[CONN_IDLE], &conn->link);
  serve_from_idle(pool, conn, now_us);
}

static void settle_or_queue(struct pg_pool *pool, struct pg_waiter *waiter, int64_t now_us) {
  struct waiters *waiters = &pool->waiters;
  if (pool->is_draining) {
    pg_waiter_fail(pool, waiter, PG_ACQUIRE_CLOSED);
    return;
  }
  if (pg_governor_fails_fast(pool, now_us)) {
    pg_waiter_fail(pool, waiter, PG_ACQUIRE_DOWN);
    return;
  }
  /* Nobody overtakes the queue. */
  struct pg_lease *conn = waiters->queued.count == 0 ? find_idle(pool, now_us) : NULL;
  if (conn) {
    pg_waiter_serve(pool, waiter, conn, now_us);
  } else if (waiters->queued.count >= (size_t)pool->config->max_waiters) {
    pg_waiter_fail(pool, waiter, PG_ACQUIRE_QUEUE_FULL);
  } else {
    pool->counters.waits++;
    pg_waiter_queue(waiters, waiter);
  }
}

struct pg_waiter *pg_acquire(struct pg_pool *pool, int64_t deadline_us, const char *holder,
                             pg_acquire_cb *cb, void *arg) {
  int64_t now_us = pg_pool_now(pool);
  struct pg_waiter *waiter = pg_waiter_take(&pool->waiters);
  waiter->pool = pool;
  waiter->deadline_us =
      deadline_min(deadline_us, deadline_after(now_us, pool->config->acquire_timeout_us));
  waiter->since_us = now_us;
  waiter->holder = holder;
  waiter->cb = cb;
  waiter->arg = arg;
  settle_or_queue(pool, waiter, now_us);
  pg_pool_kick(pool);
  return waiter;
}

void pg_acquire_cancel(struct pg_waiter *waiter) {
  struct pg_pool *pool = waiter->pool;
  struct pg_lease *conn = waiter->conn;
  pg_waiter_cancel(pool, waiter);
  if (conn)
    pg_release(conn);
}

static bool is_clean(const struct pg_lease *conn) {
  return PQstatus(conn->pq) == CONNECTION_OK && PQtransactionStatus(conn->pq) == PQTRANS_IDLE &&
         PQpipelineStatus(conn->pq) == PQ_PIPELINE_ON;
}

/* Whether a lease that comes back is kept; if not, *ret_reason says why. */
static bool may_keep(const struct pg_lease *conn, int64_t now_us,
                     enum pg_close_reason *ret_reason) {
  const struct pg_pool *pool = conn->pool;
  if (pool->is_draining)
    *ret_reason = PG_CLOSE_SHUTDOWN;
  else if (!conn->is_dead && conn->pipeline.phase != PIPELINE_NONE)
    *ret_reason = PG_CLOSE_CANCEL;
  else if (!conn->is_dead && !is_clean(conn))
    *ret_reason = PG_CLOSE_PROTOCOL;
  else
    return pg_conn_is_usable(conn, now_us, ret_reason);
  return false;
}

void pg_release(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  int64_t now_us = pg_pool_now(pool);
  enum pg_close_reason reason = PG_CLOSE_BROKEN;
  assert(conn->state == CONN_LEASED);
  conn->holder = NULL;
  histogram_add(&pool->counters.hold_us, now_us - conn->leased_us);
  if (may_keep(conn, now_us, &reason))
    pg_pool_put_idle(pool, conn, now_us);
  else
    pg_conn_close(conn, reason);
}

void pg_discard(struct pg_lease *conn) {
  pg_conn_condemn(conn, PG_CLOSE_PROTOCOL);
  pg_release(conn);
}

void pg_abandon(struct pg_lease *conn, loop_task_cb *gone, void *arg) {
  conn->gone_task = (struct loop_task){.cb = gone, .arg = arg};
  conn->is_awaited = true;
  pg_conn_condemn(conn, PG_CLOSE_CANCEL);
  pg_release(conn);
}

/* ---- draining ---- */

static struct pg_lease *first_in(const struct pg_pool *pool, enum conn_state state) {
  struct list_link *link = pool->states[state].first;
  return link ? LIST_ENTRY(link, struct pg_lease, link) : NULL;
}

static void cut_leases(struct pg_pool *pool) {
  for (struct list_link *link = pool->states[CONN_LEASED].first; link; link = link->next) {
    struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    if (!conn->pq)
      continue;
    pg_pipeline_lose(conn, ERR_CANCELED, "the connection pool closed before the answer came");
    pg_conn_cut(conn);
  }
}

static void drain_step(struct pg_pool *pool, int64_t now_us) {
  struct pg_lease *conn;
  pg_waiters_fail_all(pool, PG_ACQUIRE_CLOSED);
  while ((conn = first_in(pool, CONN_RESOLVING)) || (conn = first_in(pool, CONN_CONNECTING)) ||
         (conn = first_in(pool, CONN_SETTING)))
    pg_dial_abort(conn);
  while ((conn = first_in(pool, CONN_IDLE)) || (conn = first_in(pool, CONN_CHECKING)))
    pg_conn_close(conn, PG_CLOSE_SHUTDOWN);
  if (now_us < pool->drain_deadline_us)
    return;
  while ((conn = first_in(pool, CONN_CLOSING)))
    pg_conn_finish_close(conn);
  cut_leases(pool);
}

/* After the deadline a lease that was cut may still be in hands that don't let go. */
static bool is_drained(const struct pg_pool *pool) {
  if (pool->waiters.settled.count > 0)
    return false;
  int left = pg_pool_occupied(pool);
  for (struct list_link *link = pool->states[CONN_LEASED].first; link; link = link->next) {
    const struct pg_lease *conn = LIST_ENTRY(link, struct pg_lease, link);
    if (!conn->pq && conn->pipeline.phase != PIPELINE_DONE)
      left--;
  }
  return left == 0;
}

void pg_pool_drain(struct pg_pool *pool, int64_t deadline_us, loop_task_cb *done, void *arg) {
  assert(!pool->is_draining);
  pool->is_draining = true;
  pool->drain_deadline_us = deadline_us;
  pool->drained = done;
  pool->drained_arg = arg;
  pg_refresh_stop(pool);
  pg_pulse_stop(pool);
  pg_pool_kick(pool);
}

/* ---- the turn ---- */

static int64_t wake_at(const struct pg_pool *pool, int64_t now_us) {
  int64_t at_us = pg_upkeep_next(pool);
  if (pool->waiters.queued.count > 0)
    at_us = deadline_min(at_us, pool->waiters.deadline_us);
  if (pool->is_draining)
    return now_us < pool->drain_deadline_us ? deadline_min(at_us, pool->drain_deadline_us) : at_us;
  at_us = deadline_min(at_us, deadline_min(pg_governor_next(pool, now_us), pg_pulse_next(pool)));
  return deadline_min(at_us, deadline_min(pg_refresh_next(pool), pg_watchdog_next(pool)));
}

static void set_wake(struct pg_pool *pool, int64_t now_us) {
  int64_t at_us = wake_at(pool, now_us);
  if (at_us == pool->wake_at_us)
    return;
  pool->wake_at_us = at_us;
  loop_timer_set(&pool->wake, at_us);
}

static void on_wake(void *arg) {
  struct pg_pool *pool = arg;
  pool->wake_at_us = CLOCK_NEVER;
  pg_pool_kick(pool);
}

/* What is wanted is computed from what is, each time: no lost event can leave the pool stuck. */
static void on_turn(void *arg) {
  struct pg_pool *pool = arg;
  int64_t now_us = pg_pool_now(pool);
  pg_waiters_expire(pool, now_us);
  pg_upkeep_run(pool, now_us);
  pg_pool_serve(pool, now_us);
  if (pool->is_draining) {
    drain_step(pool, now_us);
  } else {
    pg_pulse_run(pool, now_us);
    pg_ping_run(pool, now_us);
    pg_governor_run(pool, now_us);
    pg_refresh_run(pool, now_us);
    pg_watchdog_run(pool, now_us);
  }
  set_wake(pool, now_us);
  pg_governor_tell_state(pool);
#ifdef AUDITSTORE_DEBUG
  pg_pool_check(pool, now_us);
#endif
  pg_waiters_deliver(pool);
  if (!pool->drained || !is_drained(pool))
    return;
  loop_task_cb *drained = pool->drained;
  pool->drained = NULL;
  pg_governor_tell_state(pool);
  drained(pool->drained_arg);
}

/* ---- life cycle ---- */

static void init_counters(struct pg_pool_stats *counters) {
  histogram_init_time(&counters->acquire_us);
  histogram_init_time(&counters->connect_us);
  histogram_init_time(&counters->hold_us);
}

int pg_pool_new(struct pg_pool **ret_pool, struct loop *loop, const struct config_database *config,
                struct error *err) {
  int rc = pg_params_check(config, err);
  if (rc < 0)
    return rc;
  struct pg_pool *pool = xcalloc(1, sizeof(*pool));
  pool->loop = loop;
  pool->config = config;
  pool->turn_task = (struct loop_task){.cb = on_turn, .arg = pool};
  pool->wake_at_us = CLOCK_NEVER;
  pool->upkeep_at_us = CLOCK_NEVER;
  pool->shrink.ends_at_us = CLOCK_NEVER;
  pool->refresh.at_us = CLOCK_NEVER;
  pool->governor.down_since_us = CLOCK_NEVER;
  pool->governor.probe_at_us = CLOCK_NEVER;
  pool->governor.allowed = config->max_connecting;
  init_counters(&pool->counters);
  pg_pulse_init(pool);
  buf_init(&pool->params, PG_PARAMS_TEXT_MAX);
  pg_params_text(config, &pool->params);
  /* libpq's own OpenSSL: we link none. */
  pool->ssl_pending = (int (*)(const void *))dlsym(RTLD_DEFAULT, "SSL_pending");
  pg_waiters_init(&pool->waiters);
  loop_timer_init(&pool->wake, loop, on_wake, pool);
  if (config->min_idle_conns > 0)
    pg_pool_kick(pool);
  *ret_pool = pool;
  return 0;
}

struct pg_lease *pg_pool_empty_slot(struct pg_pool *pool) {
  struct pg_lease *conn = first_in(pool, CONN_EMPTY);
  if (conn)
    return conn;
  size_t count = (size_t)pool->conn_count + 1;
  pool->conns = xrealloc(pool->conns, count * sizeof(struct pg_lease *));
  return pool->conns[pool->conn_count++] = pg_conn_new(pool);
}

/* A connection made with other settings is as good as one to another server. */
static void note_params(struct pg_pool *pool) {
  struct buf before = pool->params;
  buf_init(&pool->params, PG_PARAMS_TEXT_MAX);
  pg_params_text(pool->config, &pool->params);
  if (buf_len(&before) != buf_len(&pool->params) ||
      memcmp(buf_bytes(&before), buf_bytes(&pool->params), buf_len(&before)) != 0)
    pool->generation++;
  buf_deinit(&before);
}

void pg_pool_reload(struct pg_pool *pool) {
  note_params(pool);
  for (int i = 0; i < pool->conn_count; i++)
    pg_conn_set_death(pool->conns[i]);
  pool->is_server_idle_logged = false;
  pg_session_forget(pool);
  pool->shrink.ends_at_us = CLOCK_NEVER;
  pg_shrink_note(pool);
  pg_governor_reset(pool);
  pg_refresh_reset(pool);
  pg_pulse_reset(pool);
  pg_upkeep_soon(pool);
}

static void on_timer_closed(void *arg) {
  struct pg_pool *pool = arg;
  if (--pool->timers_open > 0)
    return;
  for (int i = 0; i < pool->conn_count; i++)
    free(pool->conns[i]);
  free(pool->conns);
  free(pool);
}

void pg_pool_free(struct pg_pool *pool) {
  if (!pool)
    return;
  loop_cancel(pool->loop, &pool->turn_task);
  pg_refresh_stop(pool);
  pg_pulse_stop(pool);
  pg_waiters_deinit(&pool->waiters);
  buf_deinit(&pool->params);
  pool->timers_open = pool->conn_count + 1;
  for (int i = 0; i < pool->conn_count; i++) {
    struct pg_lease *conn = pool->conns[i];
    assert(!conn->pq && (conn->state == CONN_EMPTY || conn->state == CONN_LEASED));
    pg_pipeline_deinit(conn);
    pg_session_reset(conn);
    loop_cancel(pool->loop, &conn->gone_task);
    loop_timer_close(&conn->timer, on_timer_closed, pool);
  }
  loop_timer_close(&pool->wake, on_timer_closed, pool);
}
