#include "pg/stats.h"

#include <stdio.h>

#include "pg/internal.h"

/* What libpq takes for one connection: measured at 7 KiB, 41 KiB with TLS. */
#define PQ_MEMORY_BYTES ((int64_t)48 * 1024)

#define NAME_ROW(name, text) (text),

const char *pg_pool_state_name(enum pg_pool_state state) {
  static const char *const names[] = {PG_POOL_STATES(NAME_ROW)};
  return names[state];
}

const char *pg_close_reason_name(enum pg_close_reason reason) {
  static const char *const names[] = {PG_CLOSE_REASONS(NAME_ROW)};
  return names[reason];
}

const char *pg_dial_failure_name(enum pg_dial_failure failure) {
  static const char *const names[] = {PG_DIAL_FAILURES(NAME_ROW)};
  return names[failure];
}

const char *pg_acquire_result_name(enum pg_acquire_result result) {
  static const char *const names[] = {PG_ACQUIRE_RESULTS(NAME_ROW)};
  return names[result];
}

static int64_t sum(const int64_t *numbers, int count) {
  int64_t total = 0;
  for (int i = 0; i < count; i++)
    total += numbers[i];
  return total;
}

int64_t pg_stats_closed(const struct pg_pool_stats *stats) {
  return sum(stats->closed, PG_CLOSE_REASON_COUNT);
}

int64_t pg_stats_open_failures(const struct pg_pool_stats *stats) {
  return sum(stats->open_failures, PG_DIAL_FAILURE_COUNT);
}

static const struct pg_lease *oldest_lease(const struct pg_pool *pool) {
  const struct list_link *link = pool->states[CONN_LEASED].first;
  return link ? LIST_ENTRY(link, struct pg_lease, link) : NULL;
}

static int64_t memory_bytes(const struct pg_pool *pool) {
  const struct config_database *config = pool->config;
  int64_t slot_bytes = (int64_t)sizeof(struct pg_lease) + PQ_MEMORY_BYTES;
  int64_t waiter_bytes = (int64_t)sizeof(struct pg_waiter);
  return config->max_open_conns * slot_bytes + config->max_waiters * waiter_bytes;
}

static void fill_settings(const struct pg_pool *pool, struct pg_pool_stats *stats) {
  const struct config_database *config = pool->config;
  stats->state = pg_governor_state(pool);
  stats->max_open = config->max_open_conns;
  stats->effective_max_open = pg_governor_max_open(pool);
  stats->max_idle = config->max_idle_conns;
  stats->conn_max_lifetime_us = config->conn_max_lifetime_us;
  stats->conn_max_idle_time_us = config->conn_max_idle_time_us;
  stats->memory_bytes = memory_bytes(pool);
}

static void fill_ages(const struct pg_pool *pool, struct pg_pool_stats *stats) {
  int64_t now_us = pg_pool_now(pool);
  const struct pg_lease *lease = oldest_lease(pool);
  const struct list_link *waiting = pool->waiters.queued.first;
  int64_t pause_us = pool->governor.next_dial_at_us - now_us;
  stats->oldest_in_use_us = lease ? now_us - lease->leased_us : 0;
  stats->oldest_wait_us =
      waiting ? now_us - LIST_ENTRY(waiting, struct pg_waiter, link)->since_us : 0;
  stats->backoff_us = pause_us > 0 ? pause_us : 0;
}

void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *ret_stats) {
  *ret_stats = pool->counters;
  fill_settings(pool, ret_stats);
  fill_ages(pool, ret_stats);
  ret_stats->open = pg_pool_open(pool);
  ret_stats->in_use = pg_pool_count(pool, CONN_LEASED);
  ret_stats->idle = ret_stats->open - ret_stats->in_use;
  ret_stats->connecting = pg_pool_dialing(pool);
  ret_stats->closing = pg_pool_count(pool, CONN_CLOSING);
  ret_stats->waiting = (int)pool->waiters.queued.count;
  ret_stats->generation = pool->generation;
}

/* Who has kept a connection longest is the first suspect when none comes back. */
void pg_pool_describe(const struct pg_pool *pool, char ret_text[PG_SNAPSHOT_SIZE]) {
  char oldest[80] = "";
  struct pg_pool_stats stats;
  pg_pool_stats(pool, &stats);
  const struct pg_lease *lease = oldest_lease(pool);
  if (lease)
    snprintf(oldest, sizeof(oldest), " (the longest by %s, for %.1f s)", lease->holder,
             (double)stats.oldest_in_use_us / CLOCK_US_PER_S);
  snprintf(ret_text, PG_SNAPSHOT_SIZE,
           "open %d of %d, in use %d%s, idle %d, connecting %d, closing %d, waiting %d", stats.open,
           stats.effective_max_open, stats.in_use, oldest, stats.idle, stats.connecting,
           stats.closing, stats.waiting);
}
