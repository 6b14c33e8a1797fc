#include <string.h>
#include <sys/random.h>

#include "pg/internal.h"

/* A server that says it is starting will soon be there. */
#define STARTING_BACKOFF_MAX_US 250000

int64_t pg_random_below(int64_t below_us) {
  if (below_us <= 0)
    return 0;
  uint64_t bits = 0;
  if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
    bits = uv_hrtime();
  return (int64_t)(bits % (uint64_t)below_us);
}

/* Neither time nor repetition mends these; too many attempts may lock the account. */
static bool is_refused_login(const char *sqlstate) {
  return strncmp(sqlstate, "28", 2) == 0 || strncmp(sqlstate, "3D", 2) == 0;
}

static int64_t draw_backoff(const struct pg_pool *pool, const char *sqlstate) {
  int64_t max_us = pool->config->connect_backoff_max_us;
  if (is_refused_login(sqlstate))
    return max_us / 2 + pg_random_below(max_us / 2);
  if (strcmp(sqlstate, "57P03") == 0)
    max_us = deadline_min(max_us, STARTING_BACKOFF_MAX_US);
  int64_t span_us = pool->config->connect_backoff_min_us;
  for (int i = 1; i < pool->governor.failures && span_us < max_us; i++)
    span_us *= 2;
  return pg_random_below(deadline_min(span_us, max_us));
}

void pg_governor_succeeded(struct pg_pool *pool) {
  pool->governor.failures = 0;
  pool->governor.next_dial_at_us = 0;
  pool->governor.down_since_us = CLOCK_NEVER;
}

void pg_governor_failed(struct pg_pool *pool, const char *sqlstate, const struct error *err) {
  struct governor *governor = &pool->governor;
  int64_t now_us = pg_pool_now(pool);
  pool->counters.open_failures++;
  governor->failures++;
  governor->failed_at_us = now_us;
  governor->error = *err;
  governor->next_dial_at_us = pg_after(now_us, draw_backoff(pool, sqlstate));
  pg_pool_kick(pool);
}

static bool is_down(const struct pg_pool *pool) {
  return pool->governor.failures > 0 && pg_pool_open(pool) == 0;
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
  return pg_after(pool->governor.down_since_us, pool->config->fail_fast_after_us);
}

bool pg_governor_fails_fast(const struct pg_pool *pool, int64_t now_us) {
  return now_us >= fails_fast_at(pool);
}

/* How many dials should be under way. One after a failure: the prober. It goes on without waiters
 * when the pool is down, because those are then refused and nothing else would find the server. */
static int wanted_dials(const struct pg_pool *pool) {
  int waiting = (int)pool->waiters.queued.count;
  if (pool->governor.failures > 0)
    return waiting > 0 || is_down(pool) ? 1 : 0;
  return waiting < pool->config->max_connecting ? waiting : pool->config->max_connecting;
}

static bool wants_dial(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_EMPTY) > 0 && pg_pool_dialing(pool) < wanted_dials(pool);
}

void pg_governor_run(struct pg_pool *pool, int64_t now_us) {
  note_down(pool, now_us);
  if (pg_governor_fails_fast(pool, now_us))
    pg_waiters_fail_all(pool, ERR_UNAVAILABLE);
  while (wants_dial(pool) && pool->governor.next_dial_at_us <= now_us)
    pg_dial_start(LIST_ENTRY(pool->states[CONN_EMPTY].first, struct pg_lease, link));
}

int64_t pg_governor_next(const struct pg_pool *pool) {
  int64_t next = CLOCK_NEVER;
  if (wants_dial(pool))
    next = pool->governor.next_dial_at_us;
  if (pool->waiters.queued.count > 0)
    next = deadline_min(next, fails_fast_at(pool));
  return next;
}

bool pg_pool_is_down(const struct pg_pool *pool, struct error *ret_err) {
  if (!is_down(pool))
    return false;
  if (ret_err)
    *ret_err = pool->governor.error;
  return true;
}
