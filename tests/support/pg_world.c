#include "support/pg_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pg/binary.h"

#define PATIENCE_US 20000000
#define TICK_MS     1

static void on_tick(uv_timer_t *timer) {
  (void)timer;
}

void pg_world_init(struct pg_world *world, const struct pg_server *server,
                   const char *application_name) {
  memset(world, 0, sizeof(*world));
  world->server = server;
  world->config = pg_server_config(server, application_name);
  world->observer = pg_observer_open(server);
  uv_loop_init(&world->uv);
  loop_init(&world->loop, &world->uv, &clock_system);
  uv_timer_init(&world->uv, &world->tick);
  uv_timer_start(&world->tick, on_tick, TICK_MS, TICK_MS);
}

void pg_world_open(struct pg_world *world) {
  struct error err;
  if (pg_pool_new(&world->pool, &world->loop, &world->config, &err) < 0)
    fail_msg("pg_pool_new: %s", err.text);
}

int64_t pg_world_now(const struct pg_world *world) {
  return clock_monotonic_us(world->loop.clock);
}

void pg_world_wait(struct pg_world *world, pg_world_condition *is_met, void *arg) {
  int64_t give_up_us = pg_world_now(world) + PATIENCE_US;
  while (!is_met(arg)) {
    if (pg_world_now(world) > give_up_us)
      fail_msg("waited in vain");
    uv_run(&world->uv, UV_RUN_ONCE);
  }
}

void pg_world_run_for(struct pg_world *world, int64_t span_us) {
  int64_t end_us = pg_world_now(world) + span_us;
  while (pg_world_now(world) < end_us)
    uv_run(&world->uv, UV_RUN_ONCE);
}

/* ---- leases ---- */

struct acquired {
  bool is_done;
  struct pg_lease *conn;
  struct error err;
};

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct acquired *acquired = arg;
  acquired->is_done = true;
  acquired->conn = conn;
  if (err)
    acquired->err = *err;
}

static bool is_set(void *arg) {
  return *(const bool *)arg;
}

struct pg_lease *pg_world_acquire(struct pg_world *world) {
  struct acquired acquired = {0};
  pg_acquire(world->pool, pg_world_now(world) + PATIENCE_US, "test", on_acquired, &acquired);
  pg_world_wait(world, is_set, &acquired.is_done);
  if (!acquired.conn)
    fail_msg("pg_acquire: %s", acquired.err.text);
  return acquired.conn;
}

void pg_world_acquire_all(struct pg_world *world, struct pg_lease **ret_conns, int count) {
  for (int i = 0; i < count; i++)
    ret_conns[i] = pg_world_acquire(world);
}

void pg_world_release_all(struct pg_lease **conns, int count) {
  for (int i = 0; i < count; i++)
    pg_release(conns[i]);
}

struct pg_pool_stats pg_world_stats(const struct pg_world *world) {
  struct pg_pool_stats stats;
  pg_pool_stats(world->pool, &stats);
  return stats;
}

int64_t pg_world_failures(const struct pg_world *world) {
  struct pg_pool_stats stats = pg_world_stats(world);
  return pg_stats_open_failures(&stats);
}

int64_t pg_world_closed(const struct pg_world *world) {
  struct pg_pool_stats stats = pg_world_stats(world);
  return pg_stats_closed(&stats);
}

struct expected {
  const struct pg_world *world;
  int open;
};

bool pg_world_is_settled(void *arg) {
  struct pg_pool_stats stats = pg_world_stats(arg);
  return stats.connecting + stats.closing == 0;
}

static bool has_open(void *arg) {
  const struct expected *expected = arg;
  return pg_world_stats(expected->world).open == expected->open;
}

void pg_world_wait_open(struct pg_world *world, int count) {
  pg_world_wait(world, has_open, &(struct expected){world, count});
}

/* ---- pipelines ---- */

void pg_world_send(struct pg_lease *conn, const char *sql) {
  struct pg_statement statement = {.sql = sql};
  pg_send(conn, &statement, NULL);
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct pg_world_run *run = arg;
  (void)statement;
  run->result_count++;
  run->rows += PQntuples(result);
  if (PQntuples(result) > 0 && PQfformat(result, 0) == 1)
    pg_get_int8(str_of(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0)), &run->value);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct pg_world_run *run = arg;
  assert_false(run->is_done);
  run->is_done = true;
  run->outcome = *outcome;
}

const struct pg_pipeline_cb pg_world_run_cb = {.on_result = on_result, .on_done = on_done};

void pg_world_finish(struct pg_world *world, struct pg_lease *conn, int64_t deadline_us,
                     struct pg_world_run *ret_run) {
  *ret_run = (struct pg_world_run){0};
  pg_run(conn, deadline_us, &pg_world_run_cb, ret_run);
  assert_false(ret_run->is_done);
  pg_world_wait(world, is_set, &ret_run->is_done);
}

void pg_world_script(struct pg_world *world, struct pg_lease *conn, const char *script,
                     struct pg_world_run *ret_run) {
  *ret_run = (struct pg_world_run){0};
  pg_run_script(conn, script, pg_world_now(world) + PATIENCE_US, &pg_world_run_cb, ret_run);
  assert_false(ret_run->is_done);
  pg_world_wait(world, is_set, &ret_run->is_done);
}

void pg_world_execute(struct pg_world *world, struct pg_lease *conn,
                      const struct pg_statement *statement, struct pg_world_run *ret_run) {
  pg_send(conn, statement, NULL);
  pg_world_finish(world, conn, CLOCK_NEVER, ret_run);
}

int64_t pg_world_int(struct pg_world *world, struct pg_lease *conn, const char *sql) {
  struct pg_world_run run;
  pg_world_send(conn, sql);
  pg_world_finish(world, conn, CLOCK_NEVER, &run);
  if (run.outcome.kind != PG_OK || run.rows < 1)
    fail_msg("%s: %s", sql, run.outcome.err.text);
  return run.value;
}

/* ---- the end ---- */

static void on_drained(void *arg) {
  *(bool *)arg = true;
}

void pg_world_drain(struct pg_world *world, int64_t deadline_us) {
  bool is_drained = false;
  pg_pool_drain(world->pool, deadline_us, on_drained, &is_drained);
  pg_world_wait(world, is_set, &is_drained);
  pg_pool_free(world->pool);
  world->pool = NULL;
}

void pg_world_deinit(struct pg_world *world) {
  if (world->pool)
    pg_world_drain(world, pg_world_now(world) + PATIENCE_US);
  if (PQstatus(world->observer) == CONNECTION_OK)
    assert_int_equal(pg_observer_count(world->observer, world->config.application_name), 0);
  PQfinish(world->observer);
  uv_close((uv_handle_t *)&world->tick, NULL);
  loop_deinit(&world->loop);
  uv_run(&world->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->uv), 0);
}
