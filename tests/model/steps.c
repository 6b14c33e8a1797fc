/* What users, operators and the world do, one step at a time. */
#include "model/world.h"

#include <string.h>

#define MS CLOCK_US_PER_MS

/* ---- settings ---- */

/* Off one time in `one_in`; else up to `span_us`. */
static int64_t draw_span(struct world *world, int64_t span_us, int one_in) {
  if (one_in > 0 && world_chance(world, one_in))
    return CLOCK_NEVER;
  return MS + world_pick(world, span_us);
}

static void draw_sizes(struct world *world) {
  struct config_database *config = &world->config;
  config->max_open_conns = 1 + (int)world_pick(world, 6);
  config->max_idle_conns = (int)world_pick(world, config->max_open_conns + 1);
  config->min_idle_conns =
      world_chance(world, 2) ? 0 : (int)world_pick(world, config->max_idle_conns + 1);
  config->max_waiters = 1 + (int)world_pick(world, world_chance(world, 3) ? 4 : 30);
  config->max_connecting = 1 + (int)world_pick(world, 4);
}

static void draw_spans(struct world *world) {
  struct config_database *config = &world->config;
  config->idle_shrink_delay_us = draw_span(world, 60 * MS, 4);
  config->conn_max_lifetime_us = draw_span(world, 900 * MS, 3);
  config->conn_lifetime_jitter = (int)world_pick(world, 51);
  config->conn_max_idle_time_us = draw_span(world, 300 * MS, 3);
  config->acquire_timeout_us = draw_span(world, 300 * MS, 0);
  config->slow_acquire_after_us = draw_span(world, 100 * MS, 4);
  config->leak_warn_after_us = draw_span(world, 200 * MS, 4);
  config->connect_timeout_us = draw_span(world, 100 * MS, 0);
  config->connect_backoff_min_us = draw_span(world, 30 * MS, 0);
  config->connect_backoff_max_us = config->connect_backoff_min_us + world_pick(world, 300 * MS);
  config->connect_backoff_reset_us = draw_span(world, 100 * MS, 0);
  config->starting_backoff_max_us = draw_span(world, 30 * MS, 0);
  config->refused_backoff_min_us = draw_span(world, 100 * MS, 0);
  config->full_backoff_min_us = draw_span(world, 100 * MS, 0);
  config->fail_fast_after_us = draw_span(world, 100 * MS, 4);
  config->close_timeout_us = draw_span(world, 60 * MS, 0);
  config->validate_after_idle_us = draw_span(world, 200 * MS, 3);
  config->ping_timeout_us = draw_span(world, 30 * MS, 0);
  config->dns_refresh_us = draw_span(world, 200 * MS, 3);
  config->frozen_after_us = draw_span(world, 150 * MS, 3);
  config->statement_timeout_us = draw_span(world, 200 * MS, 0);
  config->query_grace_us = draw_span(world, 20 * MS, 0);
}

void config_draw(struct world *world) {
  static const char *const hosts[] = {"127.0.0.1", "127.0.0.1", "db.example", "db1,db2:5433"};
  struct config_database *config = &world->config;
  *config = (struct config_database){.host = hosts[world_pick(world, 4)],
                                     .port = 5432,
                                     .name = "model",
                                     .user = "model",
                                     .password_file = "",
                                     .sslmode = "disable",
                                     .sslrootcert = "",
                                     .sslcert = "",
                                     .sslkey = "",
                                     .target_session_attrs = "any",
                                     .application_name = "model",
                                     .prepared_statements = 1};
  draw_sizes(world);
  draw_spans(world);
}

/* What connections are made with changes only now and then. */
void step_reload(struct world *world) {
  struct config_database *config = &world->config;
  int64_t statement_timeout_us = config->statement_timeout_us;
  draw_sizes(world);
  if (world_chance(world, 2))
    draw_spans(world);
  if (!world_chance(world, 4))
    config->statement_timeout_us = statement_timeout_us;
  trace(world, "reload: max_open %d, max_idle %d, min_idle %d", config->max_open_conns,
        config->max_idle_conns, config->min_idle_conns);
  memory_reload(world, config->statement_timeout_us != statement_timeout_us);
  pg_pool_reload(world->pool);
}

/* ---- leases ---- */

void step_release(struct request *request) {
  struct world *world = request->world;
  trace(world, "request %d gives its lease back", request->number);
  must(request->state == REQUEST_HELD, "request %d has no lease", request->number);
  request->state = REQUEST_OVER;
  request->is_running = false;
  world->held--;
  memory_note_use(world);
  if (request->conn->pq)
    request->conn->pq->lively_us = world->now_us;
  pg_release(request->conn);
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct request *request = arg;
  (void)statement;
  (void)result;
  must(request->is_running, "request %d gets a result of nothing", request->number);
  if (world_chance(request->world, 60))
    step_release(request);
}

static void run(struct request *request);

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct request *request = arg;
  struct world *world = request->world;
  const struct pg_conn *line = request->conn->pq;
  trace(world, "request %d: outcome %d %s", request->number, outcome->kind, outcome->err.text);
  must(request->state == REQUEST_HELD && request->is_running, "request %d is told twice",
       request->number);
  must(world->is_loop_running, "an outcome is told inside a call");
  must(outcome->kind == PG_LOST || !line || line->awaited == 0,
       "request %d is told an end before the server's", request->number);
  must(outcome->kind != PG_LOST || outcome->err.code != ERR_TIMEOUT || outcome->sqlstate[0] ||
           world->now_us >= request->run_deadline_us,
       "request %d is told a time-out before its deadline", request->number);
  request->is_running = false;
  request->is_told_lost = outcome->kind == PG_LOST;
  if (world_chance(world, 2))
    step_release(request);
  else if (world_chance(world, 4))
    run(request);
}

static void send_statements(struct request *request) {
  static const struct pg_statement statements[] = {
      {.name = "one", .sql = "SELECT 1"},
      {.name = "two", .sql = "SELECT 2"},
      {.sql = "SELECT 3"},
  };
  struct world *world = request->world;
  for (int64_t left = world_pick(world, 4); left > 0; left--)
    pg_send(request->conn, &statements[world_pick(world, 3)], NULL);
}

static void run(struct request *request) {
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  struct world *world = request->world;
  int64_t limit_us = world->config.statement_timeout_us + world->config.query_grace_us;
  int64_t deadline_us =
      world_chance(world, 2) ? CLOCK_NEVER : world->now_us + world_pick(world, 80 * MS);
  request->is_running = true;
  if (world_chance(world, 5)) {
    deadline_us = deadline_min(deadline_us, world->now_us + limit_us);
    request->run_deadline_us = deadline_us;
    pg_run_script(request->conn, "SELECT 1; SELECT 2", deadline_us, &cb, request);
    return;
  }
  request->run_deadline_us = deadline_min(deadline_us, world->now_us + limit_us);
  send_statements(request);
  pg_run(request->conn, deadline_us, &cb, request);
}

/* ---- requests ---- */

static void check_order(const struct world *world, const struct request *request) {
  for (int i = 0; i < request->number; i++)
    must(world->requests[i].state != REQUEST_QUEUED, "request %d is served before request %d",
         request->number, i);
}

static void check_failure(const struct request *request, enum error_code code) {
  const struct world *world = request->world;
  if (code == ERR_TIMEOUT)
    must(world->now_us >= request->deadline_us, "request %d is timed out before its deadline",
         request->number);
  else if (code == ERR_CANCELED)
    must(world->is_draining, "request %d: the pool doesn't drain", request->number);
  else if (code == ERR_EXHAUSTED)
    must(request->is_full, "request %d is refused, there is room", request->number);
  else
    must(code == ERR_UNAVAILABLE, "request %d: error %d", request->number, code);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct request *request = arg;
  struct world *world = request->world;
  trace(world, "request %d: %s", request->number, conn ? "served" : err->text);
  must(world->is_loop_running, "request %d is answered inside a call", request->number);
  must(request->state == REQUEST_QUEUED && ++request->answers == 1, "request %d: answered twice",
       request->number);
  request->waiter = NULL;
  request->state = conn ? REQUEST_HELD : REQUEST_OVER;
  if (!conn) {
    check_failure(request, err->code);
    return;
  }
  request->conn = conn;
  world->held++;
  check_order(world, request);
  check_grant(world, request);
  if (world_chance(world, 2))
    run(request);
  else if (world_chance(world, 4))
    step_release(request);
}

void step_acquire(struct world *world) {
  if (world->request_count == REQUESTS_MAX)
    return;
  struct request *request = &world->requests[world->request_count];
  int64_t deadline_us =
      world_chance(world, 2) ? CLOCK_NEVER : world->now_us + world_pick(world, 200 * MS);
  *request = (struct request){.world = world, .number = world->request_count++};
  request->state = REQUEST_QUEUED;
  request->deadline_us =
      deadline_min(deadline_us, world->now_us + world->config.acquire_timeout_us);
  request->is_full = world->pool->waiters.queued.count >= (size_t)world->config.max_waiters;
  request->waiter = pg_acquire(world->pool, deadline_us, "model", on_acquired, request);
  trace(world, "request %d asks", request->number);
}

static struct request *find(struct world *world, enum request_state state) {
  int start = (int)world_pick(world, world->request_count + 1);
  for (int i = 0; i < world->request_count; i++) {
    struct request *request = &world->requests[(start + i) % world->request_count];
    if (request->state == state)
      return request;
  }
  return NULL;
}

static void step_cancel(struct world *world) {
  struct request *request = find(world, REQUEST_QUEUED);
  if (!request)
    return;
  trace(world, "request %d is cancelled", request->number);
  request->state = REQUEST_OVER;
  request->is_canceled = true;
  memory_note_use(world);
  /* Served, and not told yet: it is a release. */
  if (request->waiter->conn)
    request->waiter->conn->pq->lively_us = world->now_us;
  pg_acquire_cancel(request->waiter);
}

static void step_run(struct world *world) {
  struct request *request = find(world, REQUEST_HELD);
  if (!request || request->is_running || (request->is_told_lost && !world_chance(world, 8)))
    return;
  trace(world, "request %d runs", request->number);
  run(request);
}

static void step_give_back(struct world *world) {
  struct request *request = find(world, REQUEST_HELD);
  /* Mostly those that are through. */
  if (request && (!request->is_running || world_chance(world, 4)))
    step_release(request);
}

static void on_limits(void *arg, const struct pg_server_limits *limits, const struct error *err) {
  struct world *world = arg;
  must(limits == NULL && err != NULL, "limits without a row");
  must(--world->limits_asked >= 0, "limits are told twice");
}

static void step_limits(struct world *world) {
  world->limits_asked++;
  pg_limits_read(world->pool, world->now_us + world_pick(world, 100 * MS), on_limits, world);
}

/* ---- the server ---- */

static void kill_one(struct world *world) {
  static const char *const sqlstates[] = {"57P01", "57P01", "57P02", "57P05", "25P03", NULL};
  for (struct list_link *link = world->lines.first; link; link = link->next) {
    struct pg_conn *line = LIST_ENTRY(link, struct pg_conn, link);
    if (line->phase != DIAL_OVER || !world_chance(world, 3))
      continue;
    const char *sqlstate = sqlstates[world_pick(world, 6)];
    trace(world, "the server ends connection %u with %s", line->number, sqlstate ? sqlstate : "-");
    server_kill(line, sqlstate);
    return;
  }
}

static void step_outage(struct world *world) {
  struct server *server = &world->server;
  server->is_up = !server->is_up;
  server->is_starting = server->is_up && world_chance(world, 2);
  trace(world, "the server is %s", server->is_up ? "up" : "down");
  if (!server->is_up)
    server_kill_all(world, world_chance(world, 2) ? "57P01" : NULL);
}

static void step_server(struct world *world) {
  struct server *server = &world->server;
  switch (world_pick(world, 12)) {
  case 0:
  case 1:
    step_outage(world);
    break;
  case 2:
    server_hang(world, !server->is_hung);
    trace(world, "the server %s", server->is_hung ? "hangs" : "goes on");
    break;
  case 3:
    server->is_starting = false;
    server->refuses_logins = !server->refuses_logins && world_chance(world, 2);
    break;
  case 4:
  case 5:
    server->others = (int)world_pick(world, server->max_connections + 1);
    trace(world, "others have %d of %d", server->others, server->max_connections);
    break;
  case 6:
    server->is_read_only = !server->is_read_only && world_chance(world, 2);
    trace(world, "the server is %s", server->is_read_only ? "read-only" : "a primary");
    break;
  case 7:
    server->address = 1 + (uint32_t)world_pick(world, 3);
    break;
  default:
    kill_one(world);
    break;
  }
}

/* ---- time ---- */

static void step_time(struct world *world) {
  int64_t span_us = world_pick(world, (world_chance(world, 6) ? 300 : 8) * MS);
  if (world_chance(world, 8))
    world_stall(world, span_us);
  else
    world_advance(world, span_us);
}

static void step(struct world *world) {
  int64_t drawn = world_pick(world, 100);
  if (drawn < 30)
    step_acquire(world);
  else if (drawn < 34)
    step_cancel(world);
  else if (drawn < 42)
    step_run(world);
  else if (drawn < 60)
    step_give_back(world);
  else if (drawn < 61)
    step_limits(world);
  else if (drawn < 68)
    step_server(world);
  else if (drawn < 70)
    step_reload(world);
  else
    step_time(world);
}

void steps_run(struct world *world, int count) {
  for (int i = 0; i < count; i++) {
    world->step++;
    step(world);
    /* Sometimes several come before the loop sees any of them. */
    if (!world_chance(world, 4))
      world_settle(world);
  }
}
