#include "support/pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ledger/schema.h"

#define PATIENCE_US       (30LL * 1000 * 1000)
#define CLOSE_PATIENCE_US (5LL * 1000 * 1000)

static int64_t read_monotonic(const struct clock *clock) {
  (void)clock;
  return clock_monotonic_us(&clock_system);
}

static int64_t read_wall(const struct clock *clock) {
  return LIST_ENTRY(clock, const struct pg_fixture, clock)->wall_us;
}

void pg_fixture_start(struct pg_fixture *f) {
  static const char *const settings[] = {"shared_buffers=32MB", "fsync=off", NULL};
  pg_server_start(&f->server, settings);
  f->observer = pg_observer_open(&f->server);
  f->database = pg_server_config(&f->server, "fixture");
}

void pg_fixture_remove(struct pg_fixture *f) {
  PQfinish(f->observer);
  pg_server_remove(&f->server);
}

void pg_fixture_open(struct pg_fixture *f) {
  pg_observer_run(f->observer,
                  "SET client_min_messages = warning;"
                  "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  f->wall_us = clock_wall_us(&clock_system);
  f->clock = (struct clock){.monotonic_us = read_monotonic, .wall_us = read_wall};
  assert_int_equal(uv_loop_init(&f->uv), 0);
  loop_init(&f->loop, &f->uv, &f->clock);
  struct error err;
  if (pg_pool_new(&f->pool, &f->loop, &f->database, &err) < 0)
    fail_msg("%s", err.text);
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

/* A test that failed may have left handles open, and the next one can't use the loop then. */
static void close_loop(struct pg_fixture *f) {
  int64_t limit_us = clock_monotonic_us(&clock_system) + CLOSE_PATIENCE_US;
  while (uv_run(&f->uv, UV_RUN_NOWAIT) != 0 && clock_monotonic_us(&clock_system) < limit_us)
    ;
  if (uv_loop_close(&f->uv) == 0)
    return;
  fprintf(stderr, "the loop can't be closed: a handle is open\n");
  pg_fixture_remove(f);
  exit(EXIT_FAILURE);
}

void pg_fixture_close(struct pg_fixture *f) {
  bool is_drained = false;
  pg_pool_drain(f->pool, pg_fixture_deadline(f), set_flag, &is_drained);
  pg_fixture_run_until(f, &is_drained);
  pg_pool_free(f->pool);
  loop_deinit(&f->loop);
  close_loop(f);
}

static void on_patience_end(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

int pg_fixture_group_setup(void **state) {
  static struct pg_fixture fixture;
  pg_fixture_start(&fixture);
  *state = &fixture;
  return 0;
}

int pg_fixture_group_teardown(void **state) {
  pg_fixture_remove(*state);
  return 0;
}

int pg_fixture_setup(void **state) {
  pg_fixture_open(*state);
  return 0;
}

int pg_fixture_teardown(void **state) {
  pg_fixture_close(*state);
  return 0;
}

void pg_fixture_run_until(struct pg_fixture *f, const bool *flag) {
  bool has_waited_too_long = false;
  uv_timer_t patience = {.data = &has_waited_too_long};
  uv_timer_init(&f->uv, &patience);
  uv_timer_start(&patience, on_patience_end, PATIENCE_US / 1000, 0);
  while (!*flag && !has_waited_too_long)
    uv_run(&f->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&patience, NULL);
  uv_run(&f->uv, UV_RUN_NOWAIT);
  if (!*flag)
    fail_msg("waited too long");
}

void pg_fixture_wait_for(struct pg_fixture *f, const char *sql, int64_t at_least) {
  int64_t limit_us = pg_fixture_deadline(f);
  while (pg_observer_int(f->observer, sql) < at_least) {
    uv_run(&f->uv, UV_RUN_NOWAIT);
    if (clock_monotonic_us(&f->clock) > limit_us)
      fail_msg("waited too long for: %s", sql);
  }
}

int64_t pg_fixture_deadline(const struct pg_fixture *f) {
  return clock_monotonic_us(&f->clock) + PATIENCE_US;
}

struct migration_end {
  bool is_done;
  bool is_ok;
};

static void on_migrated(void *arg, int version, const struct error *err) {
  struct migration_end *end = arg;
  (void)version;
  end->is_ok = err == NULL;
  end->is_done = true;
}

void pg_fixture_migrate(struct pg_fixture *f) {
  struct migration_end end = {false, false};
  schema_migrate(f->pool, &f->loop, pg_fixture_deadline(f), on_migrated, &end);
  pg_fixture_run_until(f, &end.is_done);
  assert_true(end.is_ok);
}
