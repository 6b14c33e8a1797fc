#include "pg/internal.h"

static void judge(struct pg_lease *conn, const struct pg_endpoints *endpoints) {
  const char *address = conn->pq ? PQhostaddr(conn->pq) : NULL;
  if (!address || address[0] == '\0')
    return;
  conn->is_address_gone = !pg_endpoints_have(endpoints, address);
}

static void on_looked_up(void *arg, const struct pg_endpoints *endpoints, const char *problem) {
  struct pg_pool *pool = arg;
  (void)problem;
  pool->refresh.lookup = NULL;
  /* A resolver that fails says nothing about where the server is. */
  if (!endpoints)
    return;
  for (int i = 0; i < pool->conn_count; i++)
    judge(pool->conns[i], endpoints);
  pg_upkeep_soon(pool);
}

static void begin(struct pg_pool *pool, int64_t now_us) {
  struct refresh *refresh = &pool->refresh;
  refresh->at_us = deadline_after(now_us, pool->config->dns_refresh_us);
  if (pg_pool_open(pool) > 0 && pg_hosts_need_lookup(pool->config))
    refresh->lookup = pg_lookup_start(pool->loop, pool->config, on_looked_up, pool);
}

void pg_refresh_run(struct pg_pool *pool, int64_t now_us) {
  struct refresh *refresh = &pool->refresh;
  if (pg_pool_open(pool) == 0 && !refresh->lookup)
    refresh->at_us = CLOCK_NEVER;
  else if (refresh->at_us == CLOCK_NEVER)
    refresh->at_us = deadline_after(now_us, pool->config->dns_refresh_us);
  else if (now_us >= refresh->at_us && !refresh->lookup)
    begin(pool, now_us);
}

int64_t pg_refresh_next(const struct pg_pool *pool) {
  return pool->refresh.lookup ? CLOCK_NEVER : pool->refresh.at_us;
}

void pg_refresh_reset(struct pg_pool *pool) {
  pool->refresh.at_us = CLOCK_NEVER;
  pg_pool_kick(pool);
}

void pg_refresh_stop(struct pg_pool *pool) {
  if (pool->refresh.lookup)
    pg_lookup_abandon(pool->refresh.lookup);
  pool->refresh.lookup = NULL;
  pool->refresh.at_us = CLOCK_NEVER;
}
