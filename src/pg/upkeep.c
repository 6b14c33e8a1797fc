#include <assert.h>

#include "pg/internal.h"

/* The part of its lifetime in which a connection is about to end, and is replaced ahead. */
enum { LIFETIME_LAST_PART = 8 };

static struct pg_lease *conn_of(struct list_link *link) {
  return LIST_ENTRY(link, struct pg_lease, link);
}

/* ---- above max_idle_conns ---- */

/* Closing what is too many at once would make every burst of requests dial again, at a hundred
 * times the cost of keeping a connection: only what stayed unused for a whole window goes. */

/* Those that are asked for a sign of life are unused as well. */
static int count_unused(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_IDLE) + pg_pool_count(pool, CONN_CHECKING);
}

static bool is_above_max_idle(const struct pg_pool *pool) {
  return count_unused(pool) > pool->config->max_idle_conns;
}

static bool looks_back(const struct pg_pool *pool) {
  return pool->config->idle_shrink_delay_us != CLOCK_NEVER;
}

static void open_window(struct pg_pool *pool) {
  pool->shrink.least_idle = count_unused(pool);
  pool->shrink.ends_at_us = deadline_after(pg_pool_now(pool), pool->config->idle_shrink_delay_us);
}

void pg_shrink_note(struct pg_pool *pool) {
  struct shrink *shrink = &pool->shrink;
  int idle = count_unused(pool);
  if (shrink->ends_at_us != CLOCK_NEVER)
    shrink->least_idle = idle < shrink->least_idle ? idle : shrink->least_idle;
  else if (looks_back(pool) && is_above_max_idle(pool))
    open_window(pool);
}

static bool is_ending(const struct pg_lease *conn, int64_t now_us);

/* One that is about to end anyway, or the one unused for longest. */
static struct pg_lease *pick_surplus(const struct pg_pool *pool, int64_t now_us) {
  for (struct list_link *link = pool->states[CONN_IDLE].last; link; link = link->prev) {
    if (is_ending(conn_of(link), now_us))
      return conn_of(link);
  }
  return conn_of(pool->states[CONN_IDLE].last);
}

/* Returns how many are left that should go. */
static int close_surplus(struct pg_pool *pool, int surplus, int64_t now_us) {
  for (; surplus > 0 && pool->states[CONN_IDLE].count > 0; surplus--)
    pg_conn_close(pick_surplus(pool, now_us), PG_CLOSE_MAX_IDLE);
  return surplus;
}

/* Not while some should go, and all that could are asked for a sign of life. */
static int64_t shrink_ends_at(const struct pg_pool *pool) {
  bool has_surplus = pool->shrink.least_idle > pool->config->max_idle_conns;
  bool is_held_up =
      has_surplus && pg_pool_count(pool, CONN_IDLE) == 0 && pg_pool_count(pool, CONN_CHECKING) > 0;
  return is_held_up ? CLOCK_NEVER : pool->shrink.ends_at_us;
}

static void shrink_run(struct pg_pool *pool, int64_t now_us) {
  struct shrink *shrink = &pool->shrink;
  int max_idle = pool->config->max_idle_conns;
  if (!looks_back(pool)) {
    shrink->ends_at_us = CLOCK_NEVER;
    (void)close_surplus(pool, pg_pool_count(pool, CONN_IDLE) - max_idle, now_us);
    return;
  }
  if (now_us < shrink_ends_at(pool))
    return;
  int left = close_surplus(pool, shrink->least_idle - max_idle, now_us);
  if (left > 0) {
    shrink->least_idle = max_idle + left;
    return;
  }
  shrink->ends_at_us = CLOCK_NEVER;
  if (is_above_max_idle(pool))
    open_window(pool);
}

/* ---- too old, unused for too long ---- */

static int64_t ends_by_age_at(const struct pg_lease *conn) {
  return pg_conn_is_usable(conn, 0, NULL) ? conn->die_at_us : 0;
}

static int64_t ends_by_idleness_at(const struct pg_lease *conn) {
  return deadline_after(conn->idle_since_us, conn->pool->config->conn_max_idle_time_us);
}

/* When its replacement should be made, if connections are to be kept ready. */
static int64_t ending_from(const struct pg_lease *conn) {
  const struct config_database *config = conn->pool->config;
  if (conn->die_at_us == CLOCK_NEVER)
    return CLOCK_NEVER;
  return conn->die_at_us - deadline_min(config->connect_timeout_us,
                                        config->conn_max_lifetime_us / LIFETIME_LAST_PART);
}

static bool is_ending(const struct pg_lease *conn, int64_t now_us) {
  return now_us >= ending_from(conn) || !pg_conn_is_usable(conn, now_us, NULL);
}

static int count_lasting(const struct list *conns, int64_t now_us) {
  int lasting = 0;
  for (struct list_link *link = conns->first; link; link = link->next)
    lasting += !is_ending(conn_of(link), now_us);
  return lasting;
}

/* One that is asked for a sign of life goes on being what it was. */
int pg_upkeep_lasting(const struct pg_pool *pool, int64_t now_us) {
  return count_lasting(&pool->states[CONN_IDLE], now_us) +
         count_lasting(&pool->states[CONN_CHECKING], now_us);
}

/* How many are out of service now: not so many at once that requests have to wait for dials. */
static bool may_retire(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_CLOSING) + pg_pool_dialing(pool) < pool->config->max_connecting;
}

static void retire(struct pg_lease *conn, int64_t now_us) {
  enum pg_close_reason reason;
  if (pg_conn_is_usable(conn, now_us, &reason))
    return;
  /* Suspect because of what another was told: it may have been told itself. */
  if (reason == PG_CLOSE_GENERATION && !pg_conn_probe(conn))
    reason = conn->farewell;
  if (reason != PG_CLOSE_LIFETIME || may_retire(conn->pool))
    pg_conn_close(conn, reason);
}

/* From the one unused for longest; connections kept ready stay, however long unused. */
static void close_unused(struct pg_pool *pool, int64_t now_us) {
  struct list *idle = &pool->states[CONN_IDLE];
  while (pg_pool_count(pool, CONN_IDLE) > pool->config->min_idle_conns && idle->last &&
         now_us >= ends_by_idleness_at(conn_of(idle->last)))
    pg_conn_close(conn_of(idle->last), PG_CLOSE_IDLE_TIME);
}

/* ---- when ---- */

void pg_upkeep_soon(struct pg_pool *pool) {
  pool->upkeep_at_us = 0;
  pg_pool_kick(pool);
}

static int64_t bottom_ends_at(const struct pg_pool *pool) {
  if (pg_pool_count(pool, CONN_IDLE) <= pool->config->min_idle_conns)
    return CLOCK_NEVER;
  return ends_by_idleness_at(conn_of(pool->states[CONN_IDLE].last));
}

void pg_upkeep_note(struct pg_pool *pool, const struct pg_lease *conn) {
  int64_t at_us = deadline_min(ends_by_age_at(conn), bottom_ends_at(pool));
  if (pool->config->min_idle_conns > 0)
    at_us = deadline_min(at_us, ending_from(conn));
  pool->upkeep_at_us = deadline_min(pool->upkeep_at_us, at_us);
}

static int64_t if_ahead(int64_t at_us, int64_t now_us) {
  return at_us > now_us ? at_us : CLOCK_NEVER;
}

/* What is due and had to stay is looked at again when a slot or a connection becomes free. */
static void schedule(struct pg_pool *pool, int64_t now_us) {
  int64_t at_us = if_ahead(bottom_ends_at(pool), now_us);
  for (struct list_link *link = pool->states[CONN_IDLE].first; link; link = link->next) {
    at_us = deadline_min(at_us, if_ahead(ends_by_age_at(conn_of(link)), now_us));
    if (pool->config->min_idle_conns > 0)
      at_us = deadline_min(at_us, if_ahead(ending_from(conn_of(link)), now_us));
  }
  pool->upkeep_at_us = at_us;
}

void pg_upkeep_run(struct pg_pool *pool, int64_t now_us) {
  struct list_link *next;
  if (now_us >= pool->upkeep_at_us) {
    for (struct list_link *link = pool->states[CONN_IDLE].last; link; link = next) {
      next = link->prev;
      retire(conn_of(link), now_us);
    }
    close_unused(pool, now_us);
    schedule(pool, now_us);
  }
  shrink_run(pool, now_us);
}

int64_t pg_upkeep_next(const struct pg_pool *pool) {
  return deadline_min(shrink_ends_at(pool), pool->upkeep_at_us);
}
