#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/pg_request.h"
#include "support/pg_world.h"

#define SECOND_US 1000000LL

/* ---- leases ---- */

static void the_connection_used_last_is_used_next(void **state) {
  struct pg_world world;
  struct pg_lease *conns[2];
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 2);
  int64_t second = pg_world_int(&world, conns[1], "SELECT pg_backend_pid()::int8");
  pg_world_release_all(conns, 2);
  for (int i = 0; i < 3; i++) {
    struct pg_lease *conn = pg_world_acquire(&world);
    assert_int_equal(pg_world_int(&world, conn, "SELECT pg_backend_pid()::int8"), second);
    pg_release(conn);
  }
  assert_int_equal(pg_world_stats(&world).opened, 2);
  pg_world_deinit(&world);
}

static void settings_are_the_servers_from_the_first_statement(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.statement_timeout_us = 7000000;
  world.config.lock_timeout_us = 3000000;
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  static const char sql[] =
      "SELECT count(*) FROM pg_settings WHERE (name, setting) IN (('statement_timeout', '7000'), "
      "('lock_timeout', '3000'), ('client_connection_check_interval', '1000'), "
      "('TimeZone', 'UTC'), ('client_encoding', 'UTF8'), ('idle_session_timeout', '0'))";
  assert_int_equal(pg_world_int(&world, conn, sql), 6);
  pg_release(conn);
  pg_world_deinit(&world);
}

static void a_lease_with_a_pipeline_under_way_is_closed(void **state) {
  struct pg_world world;
  struct pg_world_run run = {0};
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_world_send(conn, "SELECT pg_sleep(0.2)");
  pg_run(conn, CLOCK_NEVER, &pg_world_run_cb, &run);
  pg_release(conn);
  assert_int_equal(pg_world_stats(&world).open, 0);
  assert_int_equal(pg_world_stats(&world).closing, 1);
  pg_world_deinit(&world);
  assert_false(run.is_done);
}

/* ---- the limit ---- */

struct worker {
  struct pg_world *world;
  int *left;
  struct pg_lease *conn;
  struct pg_world_run run;
  unsigned turns;
};

static void work(struct worker *worker);

static void on_worked(void *arg, const struct pg_outcome *outcome) {
  struct worker *worker = arg;
  assert_int_equal(outcome->kind, PG_OK);
  pg_release(worker->conn);
  work(worker);
}

static void on_worker_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_pipeline_cb cb = {.on_done = on_worked};
  struct worker *worker = arg;
  assert_null(err);
  worker->conn = conn;
  pg_world_send(conn, "SELECT pg_sleep(0.01)");
  pg_run(conn, CLOCK_NEVER, &cb, worker);
  if (++worker->turns % 4 != 0)
    return;
  /* Closed amid a statement: the server keeps this backend until the statement ends. */
  pg_release(conn);
  work(worker);
}

static void work(struct worker *worker) {
  if (*worker->left <= 0)
    return;
  --*worker->left;
  pg_acquire(worker->world->pool, CLOCK_NEVER, "worker", on_worker_acquired, worker);
}

struct sampler {
  uv_thread_t thread;
  struct pg_world *world;
  PGconn *observer;
  int most;
  volatile bool is_over;
};

static void sample(void *arg) {
  struct sampler *sampler = arg;
  while (!sampler->is_over) {
    int count = pg_observer_count(sampler->observer, sampler->world->config.application_name);
    sampler->most = count > sampler->most ? count : sampler->most;
  }
}

static bool is_work_over(void *arg) {
  struct worker *worker = arg;
  struct pg_pool_stats stats = pg_world_stats(worker->world);
  return *worker->left <= 0 && stats.in_use == 0 && stats.waiting == 0 && stats.closing == 0;
}

static void load_reaches_but_never_passes(struct pg_world *world, int limit) {
  struct worker workers[40] = {{0}};
  struct sampler sampler = {.world = world, .observer = pg_observer_open(world->server)};
  int left = 100 * limit;
  world->config.max_open_conns = limit;
  pg_world_open(world);
  uv_thread_create(&sampler.thread, sample, &sampler);
  for (int i = 0; i < 4 * limit; i++) {
    workers[i] = (struct worker){.world = world, .left = &left};
    work(&workers[i]);
  }
  pg_world_wait(world, is_work_over, &workers[0]);
  sampler.is_over = true;
  uv_thread_join(&sampler.thread);
  PQfinish(sampler.observer);
  assert_int_equal(sampler.most, limit);
}

static void the_server_sees_the_limit_and_never_more(void **state) {
  static const int limits[] = {1, 3, 9};
  for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
    struct pg_world world;
    pg_world_init(&world, *state, __func__);
    load_reaches_but_never_passes(&world, limits[i]);
    pg_world_deinit(&world);
  }
}

static void no_more_dials_run_at_once_than_allowed(void **state) {
  struct pg_world world;
  struct pg_request requests[12];
  int answered = 0, most = 0;
  pg_world_init(&world, *state, __func__);
  world.config.max_connecting = 3;
  pg_world_open(&world);
  for (int i = 0; i < 12; i++)
    pg_request_ask(&world, &requests[i], &answered, CLOCK_NEVER);
  while (answered < 12) {
    uv_run(&world.uv, UV_RUN_ONCE);
    int connecting = pg_world_stats(&world).connecting;
    most = connecting > most ? connecting : most;
  }
  assert_int_equal(most, 3);
  for (int i = 0; i < 12; i++)
    pg_release(requests[i].conn);
  pg_world_deinit(&world);
}

/* ---- waiting ---- */

static void open_with_one_taken(struct pg_world *world, void **state, const char *name,
                                struct pg_lease **ret_conn) {
  pg_world_init(world, *state, name);
  world->config.max_open_conns = 1;
  world->config.acquire_timeout_us = SECOND_US;
  pg_world_open(world);
  *ret_conn = pg_world_acquire(world);
}

static void waiters_are_served_in_order(void **state) {
  struct pg_world world;
  struct pg_lease *conn;
  struct pg_request requests[5];
  int answered = 0;
  open_with_one_taken(&world, state, __func__, &conn);
  for (int i = 0; i < 5; i++)
    pg_request_ask(&world, &requests[i], &answered, CLOCK_NEVER);
  assert_int_equal(pg_world_stats(&world).waiting, 5);
  pg_release(conn);
  for (int i = 0; i < 5; i++) {
    pg_request_wait(&world, &requests[i]);
    assert_int_equal(requests[i].place, i + 1);
    assert_ptr_equal(requests[i].conn, conn);
    pg_release(requests[i].conn);
  }
  pg_world_deinit(&world);
}

static void nobody_overtakes_the_queue(void **state) {
  struct pg_world world;
  struct pg_lease *conn;
  struct pg_request first, second;
  int answered = 0;
  open_with_one_taken(&world, state, __func__, &conn);
  pg_request_ask(&world, &first, &answered, CLOCK_NEVER);
  pg_release(conn);
  pg_request_ask(&world, &second, &answered, CLOCK_NEVER);
  pg_request_wait(&world, &first);
  assert_non_null(first.conn);
  assert_int_equal(second.answers, 0);
  pg_release(first.conn);
  pg_request_wait(&world, &second);
  pg_release(second.conn);
  pg_world_deinit(&world);
}

static void a_cancelled_waiter_is_passed_over(void **state) {
  struct pg_world world;
  struct pg_lease *conn;
  struct pg_request requests[3];
  int answered = 0;
  open_with_one_taken(&world, state, __func__, &conn);
  for (int i = 0; i < 3; i++)
    pg_request_ask(&world, &requests[i], &answered, CLOCK_NEVER);
  pg_acquire_cancel(requests[1].waiter);
  pg_release(conn);
  /* Its connection is chosen already, its callback hasn't run. */
  pg_acquire_cancel(requests[0].waiter);
  pg_request_wait(&world, &requests[2]);
  assert_int_equal(requests[2].place, 1);
  assert_int_equal(requests[0].answers + requests[1].answers, 0);
  pg_release(requests[2].conn);
  pg_world_deinit(&world);
}

static void a_timeout_tells_what_the_pool_was_doing(void **state) {
  struct pg_world world;
  struct pg_lease *conn;
  struct pg_request late, early;
  int answered = 0;
  open_with_one_taken(&world, state, __func__, &conn);
  int64_t start_us = pg_world_now(&world);
  pg_request_ask(&world, &late, &answered, CLOCK_NEVER);
  pg_request_ask(&world, &early, &answered, start_us + 100000);
  pg_request_wait(&world, &early);
  assert_in_range(early.answered_us - start_us, 100000, 500000);
  assert_int_equal(early.err.code, ERR_TIMEOUT);
  static const char begin[] =
      "no database connection in time: open 1 of 1, in use 1 (the longest by "
      "test, for 0.";
  static const char end[] =
      " s), idle 0, connecting 0, closing 0, waiting 1; last dial error: none";
  assert_memory_equal(early.err.text, begin, strlen(begin));
  assert_string_equal(strstr(early.err.text, " s)"), end);
  pg_request_wait(&world, &late);
  assert_int_equal(late.err.code, ERR_TIMEOUT);
  assert_in_range(late.answered_us - start_us, SECOND_US, SECOND_US + 400000);
  struct pg_pool_stats stats = pg_world_stats(&world);
  assert_int_equal(stats.acquires[PG_ACQUIRE_TIMEOUT], 2);
  assert_int_equal(stats.waits, 3); /* the first lease waited for its dial */
  assert_in_range(stats.wait_us, SECOND_US + 100000, SECOND_US + 900000);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  pg_release(conn);
  pg_world_deinit(&world);
}

static void a_full_queue_refuses_at_once(void **state) {
  struct pg_world world;
  struct pg_request requests[30];
  int answered = 0;
  pg_world_init(&world, *state, __func__);
  world.config.max_open_conns = 1;
  world.config.max_waiters = 3;
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  for (int i = 0; i < 30; i++)
    pg_request_ask(&world, &requests[i], &answered, CLOCK_NEVER);
  int64_t start_us = pg_world_now(&world);
  for (int i = 3; i < 30; i++) {
    pg_request_wait(&world, &requests[i]);
    assert_int_equal(requests[i].err.code, ERR_EXHAUSTED);
  }
  assert_in_range(pg_world_now(&world) - start_us, 0, SECOND_US / 2);
  assert_int_equal(answered, 27);
  pg_release(conn);
  for (int i = 0; i < 3; i++) {
    pg_request_wait(&world, &requests[i]);
    pg_release(requests[i].conn);
  }
  pg_world_deinit(&world);
}

/* ---- draining ---- */

static void set_true(void *arg) {
  *(bool *)arg = true;
}

static bool is_true(void *arg) {
  return *(bool *)arg;
}

static void draining_refuses_waiters_and_awaits_leases(void **state) {
  struct pg_world world;
  struct pg_lease *conn;
  struct pg_request waiting, late;
  int answered = 0;
  bool is_drained = false;
  open_with_one_taken(&world, state, __func__, &conn);
  pg_request_ask(&world, &waiting, &answered, CLOCK_NEVER);
  pg_pool_drain(world.pool, pg_world_now(&world) + 20 * SECOND_US, set_true, &is_drained);
  pg_request_ask(&world, &late, &answered, CLOCK_NEVER);
  pg_request_wait(&world, &waiting);
  pg_request_wait(&world, &late);
  assert_int_equal(waiting.err.code, ERR_CANCELED);
  assert_int_equal(late.err.code, ERR_CANCELED);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  assert_false(is_drained);
  pg_release(conn);
  pg_world_wait(&world, is_true, &is_drained);
  assert_int_equal(pg_observer_count(world.observer, __func__), 0);
  pg_pool_free(world.pool);
  world.pool = NULL;
  pg_world_deinit(&world);
}

static void a_drain_that_lasts_too_long_cuts_the_leases(void **state) {
  struct pg_world world;
  struct pg_lease *conns[2];
  struct pg_world_run run = {0};
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 2);
  pg_world_send(conns[0], "SELECT pg_sleep(60)");
  pg_run(conns[0], CLOCK_NEVER, &pg_world_run_cb, &run);
  int64_t start_us = pg_world_now(&world);
  pg_world_drain(&world, start_us + 200000);
  assert_in_range(pg_world_now(&world) - start_us, 200000, SECOND_US);
  assert_true(run.is_done);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_true(run.outcome.is_in_doubt);
  /* The server finds out by itself. */
  while (pg_observer_count(world.observer, __func__) > 0)
    pg_world_run_for(&world, 10000);
  pg_world_deinit(&world);
}

static void draining_gives_dials_up(void **state) {
  struct pg_world world;
  struct pg_request waiting;
  int answered = 0;
  pg_world_init(&world, *state, __func__);
  world.config.host = "localhost";
  pg_world_open(&world);
  pg_request_ask(&world, &waiting, &answered, CLOCK_NEVER);
  uv_run(&world.uv, UV_RUN_ONCE);
  assert_int_equal(pg_world_stats(&world).connecting, 1);
  pg_world_drain(&world, CLOCK_NEVER);
  assert_int_equal(waiting.err.code, ERR_CANCELED);
  pg_world_deinit(&world);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_connection_used_last_is_used_next),
      cmocka_unit_test(settings_are_the_servers_from_the_first_statement),
      cmocka_unit_test(a_lease_with_a_pipeline_under_way_is_closed),
      cmocka_unit_test(the_server_sees_the_limit_and_never_more),
      cmocka_unit_test(no_more_dials_run_at_once_than_allowed),
      cmocka_unit_test(waiters_are_served_in_order),
      cmocka_unit_test(nobody_overtakes_the_queue),
      cmocka_unit_test(a_cancelled_waiter_is_passed_over),
      cmocka_unit_test(a_timeout_tells_what_the_pool_was_doing),
      cmocka_unit_test(a_full_queue_refuses_at_once),
      cmocka_unit_test(draining_refuses_waiters_and_awaits_leases),
      cmocka_unit_test(a_drain_that_lasts_too_long_cuts_the_leases),
      cmocka_unit_test(draining_gives_dials_up),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, pg_server_group_setup, pg_server_group_teardown);
}
