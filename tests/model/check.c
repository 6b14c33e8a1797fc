/* The invariants. What the pool says of itself is held against what its server and its users saw.
 */
#include "model/world.h"

#include <string.h>

static const struct pg_lease *slot_of(const struct list_link *link) {
  return LIST_ENTRY(link, const struct pg_lease, link);
}

static bool looks_back(const struct world *world) {
  return world->config.idle_shrink_delay_us != CLOCK_NEVER;
}

/* ---- what is remembered ---- */

void memory_hear(struct pg_conn *line, const char *sqlstate) {
  struct world *world = line->world;
  bool ends_all = strcmp(sqlstate, "57P01") == 0 || strcmp(sqlstate, "57P02") == 0 ||
                  strcmp(sqlstate, "25006") == 0;
  trace(world, "connection %u hears %s", line->number, sqlstate);
  if (!ends_all || line->epoch != world->memory.epoch)
    return;
  world->memory.epoch++;
  world->memory.changed_us = world->now_us;
}

void memory_note_use(struct world *world) {
  world->memory.used_us = world->now_us;
}

void memory_reload(struct world *world, bool is_generation_new) {
  struct memory *memory = &world->memory;
  memory->epoch += is_generation_new;
  memory->reloads++;
  memory->failures_in_a_row = 0;
  memory->no_dial_before_us = 0;
  memory->ceiling_until_us = 0;
  memory->is_one_at_a_time = memory->is_failing;
  memory->few_idle_us = world->now_us;
  memory->used_us = world->now_us;
  memory->changed_us = world->now_us;
}

/* At least so long a pause; what was drawn is known. */
static int64_t least_pause(const struct world *world, enum pg_dial_failure why) {
  const struct config_database *config = &world->config;
  if (why == PG_DIAL_AUTH || why == PG_DIAL_SESSION)
    return config->refused_backoff_min_us;
  int64_t most_us = config->connect_backoff_max_us;
  if (why == PG_DIAL_STARTING)
    most_us = deadline_min(most_us, config->starting_backoff_max_us);
  int64_t span_us = config->connect_backoff_min_us;
  for (int i = 1; i < world->memory.failures_in_a_row && span_us < most_us; i++)
    span_us *= 2;
  return (int64_t)(world->share * (double)deadline_min(span_us, most_us)) - 1;
}

static void forget_failures(struct memory *memory) {
  memory->is_failing = false;
  memory->is_one_at_a_time = false;
  memory->failures_in_a_row = 0;
  memory->no_dial_before_us = 0;
  memory->ceiling_until_us = 0;
  memory->down_since_us = CLOCK_NEVER;
}

static void note_failure(struct world *world, enum pg_dial_failure why) {
  struct memory *memory = &world->memory;
  int open = pg_pool_open(world->pool);
  int before = memory->open;
  if (why == PG_DIAL_TOO_MANY && (open > 0) != (before > 0)) {
    /* Whether others were open when it failed can't be told. */
    forget_failures(memory);
    return;
  }
  memory->is_one_at_a_time = true;
  if (why == PG_DIAL_TOO_MANY && open > 0) {
    memory->ceiling = open > before ? open : before;
    memory->ceiling_until_us = world->now_us + world->config.full_backoff_min_us;
    return;
  }
  memory->is_failing = true;
  memory->failures_in_a_row++;
  memory->no_dial_before_us = world->now_us + least_pause(world, why);
}

/* Two ends of dials at once can't be told apart: then nothing is expected of the next one. */
static void note_dials(struct world *world) {
  struct memory *memory = &world->memory;
  const struct pg_pool_stats *counters = &world->pool->counters;
  enum pg_dial_failure why = PG_DIAL_OTHER;
  int64_t failures = 0;
  for (int i = 0; i < PG_DIAL_FAILURE_COUNT; i++) {
    int64_t more = counters->open_failures[i] - memory->failures[i];
    why = more > 0 ? (enum pg_dial_failure)i : why;
    failures += more;
    memory->failures[i] = counters->open_failures[i];
  }
  bool has_succeeded = counters->opened > memory->opened;
  memory->opened = counters->opened;
  if (has_succeeded || failures > 1)
    forget_failures(memory);
  else if (failures == 1)
    note_failure(world, why);
}

/* ---- a dial ---- */

static bool is_dialled_at_once(const struct world *world) {
  return strcmp(world->config.host, "127.0.0.1") == 0;
}

void check_dial(struct world *world) {
  struct memory *memory = &world->memory;
  const struct pg_pool *pool = world->pool;
  int dialing = pg_pool_dialing(pool);
  note_dials(world);
  must(!world->is_draining, "a dial while the pool drains");
  if (!is_dialled_at_once(world))
    return;
  must(dialing <= world->config.max_connecting, "%d dials at once, %d are allowed", dialing,
       world->config.max_connecting);
  must(!memory->is_one_at_a_time || dialing == 1, "%d dials at once after a failure", dialing);
  must(world->now_us >= memory->no_dial_before_us, "a dial within the pause after a failure");
  int open = pg_pool_open(pool);
  int ceiling = open > memory->ceiling ? open : memory->ceiling;
  must(world->now_us >= memory->ceiling_until_us || open == 0 || pg_pool_occupied(pool) <= ceiling,
       "a dial above what the server has to give (%d)", ceiling);
}

/* ---- a lease ---- */

static bool is_farewell_unread(const struct pg_conn *line) {
  for (int i = line->arrived; i < line->item_count; i++) {
    if (line->items[i].at_us <= line->world->now_us)
      return true;
  }
  return false;
}

void check_grant(struct world *world, const struct request *request) {
  const struct pg_lease *conn = request->conn;
  const struct pg_conn *line = conn->pq;
  const struct config_database *config = &world->config;
  memory_note_use(world);
  must(conn->state == CONN_LEASED && line && line->is_open, "a lease without a connection");
  if (!line)
    return;
  must(line->status == CONNECTION_OK && line->awaited == 0 && !line->is_in_transaction &&
           line->is_pipelining,
       "connection %u is lent, and not clean", line->number);
  must(!line->has_heard_farewell && !is_farewell_unread(line),
       "connection %u is lent, and the server has ended it", line->number);
  /* It may have been chosen before the reload, or before another heard that all end. */
  if (world->memory.changed_us == world->now_us)
    return;
  must(line->epoch == world->memory.epoch, "connection %u is lent, and suspect", line->number);
  must(config->conn_max_lifetime_us == CLOCK_NEVER ||
           world->now_us < line->opened_us + config->conn_max_lifetime_us,
       "connection %u is lent, and too old", line->number);
  must(config->validate_after_idle_us == CLOCK_NEVER ||
           world->now_us < line->lively_us + config->validate_after_idle_us,
       "connection %u is lent without a sign of life", line->number);
}

/* ---- the end of each turn ---- */

static void check_max_idle(struct world *world, int idle) {
  struct memory *memory = &world->memory;
  int64_t closed = world->pool->counters.closed[PG_CLOSE_MAX_IDLE];
  must(closed == memory->closed_max_idle || !looks_back(world) ||
           world->now_us >= memory->few_idle_us + world->config.idle_shrink_delay_us,
       "an idle connection is closed within idle_shrink_delay");
  memory->closed_max_idle = closed;
  if (idle <= world->config.max_idle_conns)
    memory->few_idle_us = world->now_us;
}

void check_turn(struct world *world) {
  struct memory *memory = &world->memory;
  const struct pg_pool *pool = world->pool;
  if (!pool)
    return;
  int occupied = pg_pool_occupied(pool);
  int idle = pg_pool_count(pool, CONN_IDLE) + pg_pool_count(pool, CONN_CHECKING);
  must(occupied <= world->config.max_open_conns || occupied <= memory->occupied,
       "%d slots are taken, %d are allowed", occupied, world->config.max_open_conns);
  memory->occupied = occupied;
  note_dials(world);
  memory->open = pg_pool_open(pool);
  check_max_idle(world, idle);
  if (idle != memory->idle)
    memory_note_use(world);
  memory->idle = idle;
}

/* ---- nothing is left to do ---- */

static void check_death(struct world *world, const struct pg_lease *conn) {
  const struct config_database *config = &world->config;
  struct pg_conn *line = conn->pq;
  must(conn->born_us == line->opened_us, "connection %u: another birth", line->number);
  if (line->die_at_us == CLOCK_NEVER && line->jitter_share == 0) {
    line->jitter_share = conn->jitter_share + 1;
    line->die_at_us = conn->die_at_us;
    line->reloads = world->memory.reloads;
  }
  must(line->jitter_share == conn->jitter_share + 1, "connection %u: its jitter has changed",
       line->number);
  must(line->die_at_us == conn->die_at_us || line->reloads != world->memory.reloads,
       "connection %u: its end has changed", line->number);
  line->die_at_us = conn->die_at_us;
  line->reloads = world->memory.reloads;
  if (config->conn_max_lifetime_us == CLOCK_NEVER) {
    must(conn->die_at_us == CLOCK_NEVER, "connection %u has an end", line->number);
    return;
  }
  int64_t most_us = config->conn_max_lifetime_us;
  int64_t least_us = most_us - most_us * config->conn_lifetime_jitter / 100 - 1;
  must(conn->die_at_us <= line->opened_us + most_us &&
           conn->die_at_us >= line->opened_us + least_us,
       "connection %u: its end isn't the settings'", line->number);
}

static void check_idle_slot(struct world *world, const struct pg_lease *conn) {
  const struct pg_pool *pool = world->pool;
  const struct pg_conn *line = conn->pq;
  int away = pg_pool_count(pool, CONN_CLOSING) + pg_pool_dialing(pool);
  must(line->awaited == 0 && conn->pipeline.phase == PIPELINE_NONE,
       "connection %u is idle, and busy", line->number);
  must(watch_tells(conn->watch, UV_READABLE), "connection %u is idle and not watched",
       line->number);
  must(!line->has_heard_farewell && line->epoch == world->memory.epoch,
       "connection %u is kept, and suspect", line->number);
  must(world->now_us < conn->die_at_us || away >= world->config.max_connecting,
       "connection %u is kept, and too old", line->number);
  must(conn->timer.at_us == CLOCK_NEVER, "connection %u is idle, with a timer", line->number);
}

static bool is_under_way(const struct pipeline *pipeline) {
  return pipeline->phase == PIPELINE_RUNNING || pipeline->phase == PIPELINE_SCRIPT ||
         pipeline->phase == PIPELINE_ROLLBACK;
}

static void check_busy_slot(const struct world *world, const struct pg_lease *conn) {
  const struct pg_conn *line = conn->pq;
  if (!is_under_way(&conn->pipeline))
    return;
  must(conn->timer.at_us > world->now_us && conn->timer.at_us != CLOCK_NEVER,
       "connection %u is busy without a deadline", line->number);
  must(!line->has_output || line->writable_at_us > world->now_us,
       "connection %u has output that is never sent", line->number);
  must(watch_tells(conn->watch, line->has_output ? UV_READABLE | UV_WRITABLE : UV_READABLE),
       "connection %u is busy and not watched", line->number);
}

static void check_slot(struct world *world, const struct pg_lease *conn) {
  bool is_timed = conn->timer.at_us > world->now_us && conn->timer.at_us != CLOCK_NEVER;
  switch (conn->state) {
  case CONN_RESOLVING:
    must(is_timed || conn->is_dial_failed, "a look-up has no deadline");
    break;
  case CONN_CONNECTING:
    must(is_timed, "a dial has no deadline");
    must(watch_tells(conn->watch, conn->pq->waits_to_write ? UV_WRITABLE : UV_READABLE),
         "connection %u is dialled and not watched", conn->pq->number);
    break;
  case CONN_IDLE:
    check_death(world, conn);
    check_idle_slot(world, conn);
    break;
  case CONN_SETTING:
    check_death(world, conn);
    must(is_timed, "the making of a session has no deadline");
    check_busy_slot(world, conn);
    break;
  case CONN_CHECKING:
    must(is_timed, "a ping has no deadline");
    check_busy_slot(world, conn);
    break;
  case CONN_LEASED:
    if (conn->pq)
      check_busy_slot(world, conn);
    break;
  case CONN_CLOSING:
    must(is_timed, "a close has no deadline");
    must(conn->closing_fd < 0 || line_by_fd(world, conn->closing_fd)->is_half_closed,
         "a close that the server isn't told of");
    break;
  default:
    must(conn->timer.at_us == CLOCK_NEVER, "an empty slot has a timer");
    break;
  }
}

static void check_idle_count(const struct world *world) {
  const struct config_database *config = &world->config;
  const struct memory *memory = &world->memory;
  const struct pg_pool *pool = world->pool;
  int idle = pg_pool_count(pool, CONN_IDLE);
  int waiting = (int)pool->waiters.queued.count;
  int open = pg_pool_open(pool) + pg_pool_dialing(pool);
  must(waiting == 0 || idle == 0 || pg_pool_count(pool, CONN_CHECKING) >= waiting,
       "%d wait, and %d connections are idle", waiting, idle);
  must(idle == 0 || open <= config->max_open_conns, "%d connections, %d are allowed", open,
       config->max_open_conns);
  if (!looks_back(world))
    must(idle <= config->max_idle_conns, "%d are idle, %d may be", idle, config->max_idle_conns);
  else
    must(idle <= config->max_idle_conns ||
             world->now_us <= memory->used_us + 2 * config->idle_shrink_delay_us,
         "%d stay idle, %d may", idle, config->max_idle_conns);
  if (idle <= config->min_idle_conns || config->conn_max_idle_time_us == CLOCK_NEVER)
    return;
  must(world->now_us <
           slot_of(pool->states[CONN_IDLE].last)->idle_since_us + config->conn_max_idle_time_us,
       "a connection is idle for too long");
}

static void check_gauges(const struct world *world) {
  struct pg_pool_stats stats;
  pg_pool_stats(world->pool, &stats);
  int open = 0;
  int dialled = 0;
  for (struct list_link *link = world->lines.first; link; link = link->next) {
    const struct pg_conn *line = LIST_ENTRY(link, struct pg_conn, link);
    open += line->is_open;
    dialled += !line->is_open && !line->is_finished;
  }
  open -= pg_pool_count(world->pool, CONN_SETTING);
  bool is_cut = world->is_draining && world->now_us >= world->drain_deadline_us;
  must(is_cut || stats.open == open, "open is %d, %d connections are", stats.open, open);
  must(stats.connecting >= dialled, "connecting is %d, %d are dialled", stats.connecting, dialled);
  must(stats.open == stats.in_use + stats.idle, "open isn't in_use and idle");
  must(stats.opened - pg_stats_closed(&stats) == stats.open, "opened less closed isn't open");
  int of_limits = stats.in_use - world->held;
  must(of_limits >= 0 && of_limits <= world->limits_asked, "in_use is %d, %d are held",
       stats.in_use, world->held);
  must(stats.max_open == world->config.max_open_conns &&
           stats.effective_max_open <= stats.max_open && stats.effective_max_open > 0,
       "effective_max_open is %d", stats.effective_max_open);
  must(world->was_faulty || world->is_draining || stats.close_timeouts >= world->memory.timeouts,
       "close_timeouts is %lld, %lld closes were", (long long)stats.close_timeouts,
       (long long)world->memory.timeouts);
}

static void check_waiters(const struct world *world) {
  int waiting = 0;
  for (int i = 0; i < world->request_count; i++) {
    const struct request *request = &world->requests[i];
    waiting += request->state == REQUEST_QUEUED;
    must(request->state != REQUEST_QUEUED || request->deadline_us > world->now_us,
         "request %d waits beyond its deadline", i);
    must(!request->is_running || request->run_deadline_us > world->now_us,
         "request %d runs beyond its deadline", i);
  }
  int queued = (int)world->pool->waiters.queued.count;
  must(queued >= waiting && queued <= waiting + world->limits_asked, "%d are queued, %d wait",
       queued, waiting);
  must(queued == 0 || !world->is_draining, "%d wait while the pool drains", queued);
}

/* Requests fail fast once the server has been out of reach for long. */
static void check_down(struct world *world) {
  struct memory *memory = &world->memory;
  const struct pg_pool *pool = world->pool;
  if (!memory->is_failing || pg_pool_open(pool) > 0)
    memory->down_since_us = CLOCK_NEVER;
  else if (memory->down_since_us == CLOCK_NEVER)
    memory->down_since_us = world->now_us;
  must(pool->waiters.queued.count == 0 ||
           world->now_us < deadline_after(memory->down_since_us, world->config.fail_fast_after_us),
       "requests wait for a server that is out of reach");
}

void check_settled(struct world *world) {
  const struct pg_pool *pool = world->pool;
  if (!pool)
    return;
  for (int i = 0; i < pool->conn_count; i++)
    check_slot(world, pool->conns[i]);
  check_idle_count(world);
  check_gauges(world);
  check_waiters(world);
  check_down(world);
}
