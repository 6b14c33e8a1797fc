
#include <string.h>

#include "base/log.h"
#include "pg/internal.h"

/* ---- pauses ---- */

/* From `min_us` to twice that. */
static int64_t draw_long_pause(int64_t min_us) {
  return deadline_after(min_us, random_below(min_us));
}

/* Any length up to a bound that doubles with each failure, so that daemons don't come in step. */
static int64_t draw_backoff(const struct pg_pool *pool, enum pg_dial_failure why) {
  const struct config_database *config = pool->config;
  if (why == PG_DIAL_AUTH || why == PG_DIAL_SESSION)
    return draw_long_pause(config->refused_backoff_min_us);
  int64_t max_us = config->connect_backoff_max_us;
  if (why == PG_DIAL_STARTING)
    max_us = deadline_min(max_us, config->starting_backoff_max_us);
  int64_t span_us = config->connect_backoff_min_us;
  for (int i = 1; i < pool->governor.failures && span_us < max_us; i++)
    span_us *= 2;
  return random_below(deadline_min(span_us, max_us));
}

/* ---- how dials end ---- */

void pg_governor_succeeded(struct pg_pool *pool) {
  struct governor *governor = &pool->governor;
  int max = pool->config->max_connecting;
  if (governor->is_failing)
    governor->recovered_at_us = pg_pool_now(pool);
  governor->has_dialed = true;
  governor->is_failing = false;
  governor->told = 0;
  governor->next_dial_at_us = 0;
  governor->down_since_us = CLOCK_NEVER;
  governor->allowed = 2 * governor->allowed < max ? 2 * governor->allowed : max;
  /* The one more that was asked for: there may be others. */
  governor->probe_at_us = CLOCK_NEVER;
}

/* The server has no connection left for us: those that are open go on serving. */
static void lower_ceiling(struct pg_pool *pool, int64_t now_us) {
  struct governor *governor = &pool->governor;
  governor->ceiling = pg_pool_open(pool);
  governor->probe_at_us =
      deadline_after(now_us, draw_long_pause(pool->config->full_backoff_min_us));
  governor->allowed = 1;
}

static void note_failure(struct pg_pool *pool, enum pg_dial_failure why, int64_t now_us) {
  struct governor *governor = &pool->governor;
  int64_t stable_us = pool->config->connect_backoff_reset_us;
  if (!governor->is_failing && now_us >= deadline_after(governor->recovered_at_us, stable_us))
    governor->failures = 0;
  governor->failures++;
  governor->is_failing = true;
  governor->allowed = 1;
  governor->next_dial_at_us = deadline_after(now_us, draw_backoff(pool, why));
}

void pg_governor_failed(struct pg_lease *conn, enum pg_dial_failure why, const struct error *err) {
  struct pg_pool *pool = conn->pool;
  struct governor *governor = &pool->governor;
  int64_t now_us = pg_pool_now(pool);
  pool->counters.open_failures[why]++;
  governor->has_dialed = true;
  governor->failed_at_us = now_us;
  governor->failure = why;
  memcpy(governor->sqlstate, conn->sqlstate, sizeof(governor->sqlstate));
  governor->error = *err;
  if (why == PG_DIAL_TOO_MANY && pg_pool_open(pool) > 0)
    lower_ceiling(pool, now_us);
  else
    note_failure(pool, why, now_us);
  pg_pool_kick(pool);
}

void pg_governor_reset(struct pg_pool *pool) {
  struct governor *governor = &pool->governor;
  governor->failures = 0;
  governor->allowed = pool->config->max_connecting;
  governor->next_dial_at_us = 0;
  governor->probe_at_us = CLOCK_NEVER;
  pg_pool_kick(pool);
}

/* ---- out of reach ---- */

static bool is_down(const struct pg_pool *pool) {
  return pool->governor.is_failing && pg_pool_open(pool) == 0;
}

static void note_down(struct pg_pool *pool, int64_t now_us) {
  struct governor *governor = &pool->governor;
  if (!is_down(pool))
    governor->down_since_us = CLOCK_NEVER;
  else if (governor->down_since_us == CLOCK_NEVER)
    governor->down_since_us = now_us;
}

static int64_t fails_fast_at(const struct pg_pool *pool) {
  if (pool->governor.down_since_us == CLOCK_NEVER)
    return CLOCK_NEVER;
  return deadline_after(pool->governor.down_since_us, pool->config->fail_fast_after_us);
}

bool pg_governor_fails_fast(const struct pg_pool *pool, int64_t now_us) {
  return now_us >= fails_fast_at(pool);
}

/* ---- demand ---- */

/* Without the last open connection a ceiling is an outage like any other. */
static bool has_ceiling(const struct pg_pool *pool) {
  return pool->governor.probe_at_us != CLOCK_NEVER && pg_pool_open(pool) > 0;
}

int pg_governor_max_open(const struct pg_pool *pool) {
  int max = pool->config->max_open_conns;
  if (!has_ceiling(pool))
    return max;
  /* Dials that were under way may have succeeded since. */
  int open = pg_pool_open(pool);
  int ceiling = open > pool->governor.ceiling ? open : pool->governor.ceiling;
  return ceiling < max ? ceiling : max;
}

/* Above the ceiling one at a time may be tried, when its time has come. */
static int room(const struct pg_pool *pool, int64_t now_us) {
  int max = pg_governor_max_open(pool);
  bool may_probe = max < pool->config->max_open_conns && now_us >= pool->governor.probe_at_us;
  return max + (may_probe ? 1 : 0) - pg_pool_occupied(pool);
}

static int at_once(const struct pg_pool *pool) {
  const struct governor *governor = &pool->governor;
  int max = pool->config->max_connecting;
  return governor->allowed < max ? governor->allowed : max;
}

/* How many dials should be under way. One after a failure: the prober. It goes on without waiters
 * when the pool is down, because those are then refused and nothing else would find the server. */
static int wanted_dials(const struct pg_pool *pool, int64_t now_us) {
  int waiting = (int)pool->waiters.queued.count - pg_pool_count(pool, CONN_CHECKING);
  int lacking = pool->config->min_idle_conns > 0
                    ? pool->config->min_idle_conns - pg_upkeep_lasting(pool, now_us)
                    : 0;
  int demand = (waiting > 0 ? waiting : 0) + (lacking > 0 ? lacking : 0);
  if (pool->governor.is_failing)
    return demand > 0 || is_down(pool) ? 1 : 0;
  return demand < at_once(pool) ? demand : at_once(pool);
}

static bool wants_dial(const struct pg_pool *pool, int64_t now_us) {
  return pg_pool_dialing(pool) < wanted_dials(pool, now_us);
}

void pg_governor_run(struct pg_pool *pool, int64_t now_us) {
  note_down(pool, now_us);
  if (pg_governor_fails_fast(pool, now_us))
    pg_waiters_fail_all(pool, PG_ACQUIRE_DOWN);
  while (pool->governor.next_dial_at_us <= now_us && room(pool, now_us) > 0 &&
         wants_dial(pool, now_us))
    pg_dial_start(pg_pool_empty_slot(pool));
}

int64_t pg_governor_next(const struct pg_pool *pool, int64_t now_us) {
  int64_t next = CLOCK_NEVER;
  if (wants_dial(pool, now_us)) {
    if (room(pool, now_us) > 0)
      next = pool->governor.next_dial_at_us;
    else if (has_ceiling(pool) && now_us < pool->governor.probe_at_us)
      next = pool->governor.probe_at_us;
  }
  if (pool->waiters.queued.count > 0)
    next = deadline_min(next, fails_fast_at(pool));
  return next;
}

/* ---- what it says ---- */

#define FROZEN_TEXT                                                                                \
  "PostgreSQL doesn't answer: nothing came from it for database.frozen_after, though it was asked"

enum pg_pool_state pg_governor_state(const struct pg_pool *pool) {
  if (pool->is_draining)
    return pool->drained ? PG_POOL_DRAINING : PG_POOL_CLOSED;
  if (is_down(pool))
    return PG_POOL_DOWN;
  if (pool->pulse.is_frozen)
    return PG_POOL_FROZEN;
  if (pool->governor.is_failing)
    return PG_POOL_DEGRADED;
  return pool->governor.has_dialed ? PG_POOL_UP : PG_POOL_STARTING;
}

/* Dials fail for another reason than those that were told. */
static bool is_new_failure(const struct governor *governor) {
  return governor->is_failing && !(governor->told & 1U << governor->failure);
}

static void log_state(struct pg_pool *pool, enum pg_pool_state state) {
  struct governor *governor = &pool->governor;
  enum pg_pool_state before = governor->logged;
  if (state == before && !is_new_failure(governor))
    return;
  governor->logged = state;
  if (governor->is_failing)
    governor->told |= 1U << governor->failure;
  const char *from = pg_pool_state_name(before);
  const char *to = pg_pool_state_name(state);
  if (state == PG_POOL_FROZEN)
    log_warn("db pool state", KV("from", from), KV("to", to), KV("error", FROZEN_TEXT));
  else if (state == PG_POOL_DOWN || state == PG_POOL_DEGRADED)
    log_warn("db pool state", KV("from", from), KV("to", to),
             KV("class", pg_dial_failure_name(governor->failure)),
             KV("error", governor->error.text));
  else
    log_info("db pool state", KV("from", from), KV("to", to));
}

void pg_governor_tell_state(struct pg_pool *pool) {
  enum pg_pool_state state = pg_governor_state(pool);
  bool is_new = state != pool->governor.logged;
  log_state(pool, state);
  if (is_new && pool->on_state)
    pool->on_state(pool->on_state_arg, state);
}

void pg_pool_on_state(struct pg_pool *pool, pg_state_cb *cb, void *arg) {
  pool->on_state = cb;
  pool->on_state_arg = arg;
}

bool pg_pool_is_down(const struct pg_pool *pool, struct error *ret_err) {
  bool is_frozen = pool->pulse.is_frozen;
  if (!is_down(pool) && !is_frozen)
    return false;
  if (ret_err && is_down(pool))
    *ret_err = pool->governor.error;
  else if (ret_err)
    error_set(ret_err, ERR_UNAVAILABLE, FROZEN_TEXT);
  return true;
}
