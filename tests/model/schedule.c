/* One schedule: an empty pool, some steps, perhaps a quiet end, a drain, nothing left. */
#include "model/world.h"

#define MS CLOCK_US_PER_MS

enum { STEPS_MAX = 70 };

static void begin(struct world *world) {
  struct error err;
  world->server = (struct server){.is_up = !world_chance(world, 16), .address = 1};
  world->server.is_pooler = world_chance(world, 4);
  world->server.max_connections = 2 + (int)world_pick(world, 10);
  world->is_faulty = world->was_faulty = world_chance(world, 4);
  world->memory.down_since_us = CLOCK_NEVER;
  world->memory.few_idle_us = world->memory.used_us = world->now_us;
  config_draw(world);
  must(pg_pool_new(&world->pool, &world->loop, &world->config, &err) == 0, "no pool");
}

static void release_all(struct world *world) {
  for (int i = 0; i < world->request_count; i++) {
    if (world->requests[i].state == REQUEST_HELD)
      step_release(&world->requests[i]);
  }
}

static void calm_down(struct world *world) {
  struct server *server = &world->server;
  *server = (struct server){
      .is_up = true, .is_calm = true, .is_pooler = server->is_pooler, .address = server->address};
  server->max_connections = world->config.max_open_conns + 8;
  world->is_faulty = false;
  server_hang(world, false);
  lookups_hurry(world);
}

/* With a server that is well and no lease held, whoever asks is served, and what is to be kept
 * ready is there: no lost event has left the pool stuck. */
static void check_recovery(struct world *world) {
  enum { PATIENCE_MS = 900, ROOM = 4 };
  const struct config_database *config = &world->config;
  calm_down(world);
  for (int i = 0; i < ROOM; i++) {
    release_all(world);
    world_advance(world, PATIENCE_MS * MS / ROOM);
  }
  release_all(world);
  world_settle(world);
  release_all(world);
  world_settle(world);
  int lasting = pg_pool_count(world->pool, CONN_IDLE) + pg_pool_count(world->pool, CONN_CHECKING);
  must(config->conn_max_lifetime_us != CLOCK_NEVER || world->held > 0 ||
           lasting >= config->min_idle_conns,
       "%d are idle, %d are to be kept ready", lasting, config->min_idle_conns);
  if (world->request_count == REQUESTS_MAX)
    return;
  const struct request *last = &world->requests[world->request_count];
  step_acquire(world);
  world_settle(world);
  if (last->state == REQUEST_QUEUED)
    world_advance(world, deadline_min(last->deadline_us - world->now_us - 1, PATIENCE_MS * MS));
  bool has_time = last->deadline_us > world->now_us + config->connect_timeout_us;
  must(last->state != REQUEST_QUEUED || !has_time, "a request waits beside a server that is well");
}

static void on_drained(void *arg) {
  struct world *world = arg;
  must(++world->drained == 1, "drained twice");
  must(world->is_loop_running, "drained inside a call");
}

static void drain(struct world *world) {
  bool is_told_of_leases = world_chance(world, 2);
  world->is_draining = true;
  world->drain_deadline_us = world->now_us + world_pick(world, 150 * MS);
  trace(world, "the pool drains");
  pg_pool_drain(world->pool, world->drain_deadline_us, on_drained, world);
  steps_run(world, (int)world_pick(world, 6));
  if (is_told_of_leases)
    release_all(world);
  while (world->now_us < world->drain_deadline_us)
    world_advance(world, 1 + world->drain_deadline_us - world->now_us);
  world_settle(world);
  must(world->drained == 1, "the pool hasn't drained by its deadline");
}

static uint64_t note_seen(uint64_t seen, const int64_t *counts, int count) {
  for (int i = 0; i < count; i++)
    seen = seen << 1 | (counts[i] > 0);
  return seen;
}

static void end(struct world *world) {
  struct pg_pool_stats stats;
  release_all(world);
  world_settle(world);
  pg_pool_stats(world->pool, &stats);
  must(stats.open + stats.connecting + stats.closing + stats.waiting == 0,
       "drained, and not empty");
  must(stats.opened == pg_stats_closed(&stats), "drained, and not all are closed");
  world->seen = note_seen(0, stats.closed, PG_CLOSE_REASON_COUNT);
  world->seen = note_seen(world->seen, stats.acquires, PG_ACQUIRE_RESULT_COUNT);
  world->seen = note_seen(world->seen, stats.open_failures, PG_DIAL_FAILURE_COUNT);
  must(world->limits_asked == 0, "limits were never told");
  for (int i = 0; i < world->request_count; i++)
    must(world->requests[i].answers == 1 || world->requests[i].is_canceled,
         "request %d was never answered", i);
  pg_pool_free(world->pool);
  world->pool = NULL;
  lookups_hurry(world);
  world_settle(world);
}

void schedule_run(struct world *world, uint64_t seed) {
  world_enter(world, seed);
  begin(world);
  steps_run(world, 8 + (int)world_pick(world, STEPS_MAX));
  if (world_chance(world, 3))
    check_recovery(world);
  drain(world);
  end(world);
  world_leave(world);
}
