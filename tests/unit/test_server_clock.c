/*
 * This machine's clock against PostgreSQL's, of which the test sets the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pg/server_clock.h"
#include "support/pg_fixture.h"

#define HOUR_US (3600LL * 1000000)
/* Far above the round trip of a busy machine, far below what the tests set. */
#define NEAR_US (60LL * 1000000)

struct world {
  struct pg_fixture *f;
  struct server_clock *clock;
};

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

static struct world *open_world(struct pg_fixture *f) {
  struct world *w = calloc(1, sizeof(*w));
  w->f = f;
  w->clock = server_clock_new(&f->loop, f->pool);
  return w;
}

static void read_first(struct world *w) {
  bool is_read = false;
  server_clock_start(w->clock, set_flag, &is_read);
  assert_false(is_read);
  pg_fixture_run_until(w->f, &is_read);
}

static void close_world(struct world *w) {
  bool is_closed = false;
  server_clock_close(w->clock, set_flag, &is_closed);
  assert_false(is_closed);
  pg_fixture_run_until(w->f, &is_closed);
  server_clock_free(w->clock);
  free(w);
}

static void assert_ahead(const struct world *w, int64_t expected_us) {
  struct clock_difference d = server_clock_difference(w->clock);
  assert_true(d.is_known);
  assert_true(d.us > expected_us - NEAR_US && d.us < expected_us + NEAR_US);
  assert_true(d.uncertainty_us >= 0 && d.uncertainty_us < NEAR_US);
}

static void nothing_is_known_before_the_first_answer(void **state) {
  struct world *w = open_world(*state);
  struct clock_difference d = server_clock_difference(w->clock);
  assert_false(d.is_known);
  assert_int_equal(d.us, 0);
  assert_false(clock_difference_is_certain(&d));
  close_world(w);
}

static void a_difference_has_the_sign_of_this_clock_s_lead(void **state) {
  struct pg_fixture *f = *state;
  struct world *w = open_world(f);
  int64_t now_us = f->wall_us;
  read_first(w);
  assert_ahead(w, 0);
  f->wall_us = now_us + 40 * 24 * HOUR_US;
  assert_ahead(w, 40 * 24 * HOUR_US);
  f->wall_us = now_us - 2 * HOUR_US;
  assert_ahead(w, -2 * HOUR_US);
  close_world(w);
}

/* PostgreSQL's time goes on between answers, by this machine's monotonic clock. */
static void the_other_clock_is_followed_without_asking(void **state) {
  struct pg_fixture *f = *state;
  struct world *w = open_world(f);
  read_first(w);
  int64_t before_us = clock_monotonic_us(&f->clock);
  struct clock_difference first = server_clock_difference(w->clock);
  int64_t after_us = before_us;
  while (after_us - before_us < 20000)
    after_us = clock_monotonic_us(&f->clock);
  struct clock_difference second = server_clock_difference(w->clock);
  int64_t end_us = clock_monotonic_us(&f->clock);
  /* The wall clock of the fixture stands still, so the other one gains on it. */
  assert_true(first.us - second.us >= after_us - before_us - (end_us - after_us) - 1000);
  assert_true(first.us - second.us <= end_us - before_us);
  close_world(w);
}

static void certain_is_what_exceeds_the_measurement_s_error(void **state) {
  (void)state;
  struct clock_difference d = {.is_known = true, .us = 10, .uncertainty_us = 10};
  assert_false(clock_difference_is_certain(&d));
  d.us = 11;
  assert_true(clock_difference_is_certain(&d));
  d.us = -11;
  assert_true(clock_difference_is_certain(&d));
  d.is_known = false;
  assert_false(clock_difference_is_certain(&d));
}

static void a_refusal_is_counted_and_asks_again(void **state) {
  struct pg_fixture *f = *state;
  struct world *w = open_world(f);
  read_first(w);
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  int64_t asked = stats.acquires[PG_ACQUIRE_OK];
  for (int i = 0; i < 100; i++)
    server_clock_count_refusal(w->clock);
  assert_int_equal(server_clock_refusals(w->clock), 100);
  int64_t limit_us = pg_fixture_deadline(f);
  do {
    uv_run(&f->uv, UV_RUN_NOWAIT);
    pg_pool_stats(f->pool, &stats);
  } while (stats.acquires[PG_ACQUIRE_OK] == asked && clock_monotonic_us(&f->clock) < limit_us);
  assert_int_equal(stats.acquires[PG_ACQUIRE_OK], asked + 1);
  close_world(w);
}

/* The pool drains in the fixture's teardown, and would wait for a lease that isn't given back. */
static void closing_ends_a_question_that_waits_or_is_under_way(void **state) {
  struct pg_fixture *f = *state;
  for (int turns = 0; turns < 40; turns++) {
    struct world *w = open_world(f);
    bool is_read = false;
    server_clock_start(w->clock, set_flag, &is_read);
    for (int i = 0; i < turns; i++)
      uv_run(&f->uv, UV_RUN_NOWAIT);
    bool is_closed = false;
    server_clock_close(w->clock, set_flag, &is_closed);
    pg_fixture_run_until(f, &is_closed);
    assert_true(is_read);
    server_clock_free(w->clock);
    free(w);
  }
}

static void on_lease(void *arg, struct pg_lease *conn, const struct error *err) {
  assert_null(err);
  *(struct pg_lease **)arg = conn;
}

static void without_a_connection_nothing_is_known_and_the_start_goes_on(void **state) {
  struct pg_fixture *f = *state;
  struct pg_lease *conn = NULL;
  int old_max = f->database.max_open_conns;
  int64_t old_timeout_us = f->database.acquire_timeout_us;
  f->database.max_open_conns = 1;
  f->database.acquire_timeout_us = 100000;
  pg_pool_reload(f->pool);
  pg_acquire(f->pool, CLOCK_NEVER, "test", on_lease, &conn);
  while (!conn)
    uv_run(&f->uv, UV_RUN_ONCE);
  struct world *w = open_world(f);
  read_first(w);
  assert_false(server_clock_difference(w->clock).is_known);
  /* What is asked for in vain is asked for again. */
  pg_release(conn);
  server_clock_count_refusal(w->clock);
  int64_t limit_us = pg_fixture_deadline(f);
  while (!server_clock_difference(w->clock).is_known && clock_monotonic_us(&f->clock) < limit_us)
    uv_run(&f->uv, UV_RUN_ONCE);
  assert_ahead(w, 0);
  close_world(w);
  f->database.max_open_conns = old_max;
  f->database.acquire_timeout_us = old_timeout_us;
}

/* The loop's time, which runs ahead as far as the test says. */
static int64_t ahead_us;

static int64_t monotonic_ahead(const struct clock *clock) {
  (void)clock;
  return clock_monotonic_us(&clock_system) + ahead_us;
}

static int64_t count_lent(struct pg_fixture *f) {
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  return stats.acquires[PG_ACQUIRE_OK];
}

/* Half a minute passes. */
static void pass_time(struct pg_fixture *f) {
  ahead_us += 31 * CLOCK_US_PER_S;
  for (int i = 0; i < 50; i++)
    uv_run(&f->uv, UV_RUN_NOWAIT);
}

static void a_pool_that_nobody_uses_is_left_alone(void **state) {
  struct pg_fixture *f = *state;
  int64_t (*real)(const struct clock *clock) = f->clock.monotonic_us;
  ahead_us = 0;
  f->clock.monotonic_us = monotonic_ahead;
  struct world *w = open_world(f);
  read_first(w);
  int64_t lent = count_lent(f);
  pass_time(f);
  pass_time(f);
  assert_int_equal(count_lent(f), lent);
  struct pg_lease *conn = NULL;
  pg_acquire(f->pool, CLOCK_NEVER, "test", on_lease, &conn);
  while (!conn)
    uv_run(&f->uv, UV_RUN_ONCE);
  pg_release(conn);
  pass_time(f);
  int64_t limit_us = pg_fixture_deadline(f);
  while (count_lent(f) < lent + 2 && clock_monotonic_us(&f->clock) < limit_us)
    uv_run(&f->uv, UV_RUN_ONCE);
  assert_int_equal(count_lent(f), lent + 2);
  close_world(w);
  f->clock.monotonic_us = real;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pg_fixture_setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(nothing_is_known_before_the_first_answer),
      TEST(a_difference_has_the_sign_of_this_clock_s_lead),
      TEST(the_other_clock_is_followed_without_asking),
      cmocka_unit_test(certain_is_what_exceeds_the_measurement_s_error),
      TEST(a_refusal_is_counted_and_asks_again),
      TEST(closing_ends_a_question_that_waits_or_is_under_way),
      TEST(a_pool_that_nobody_uses_is_left_alone),
      TEST(without_a_connection_nothing_is_known_and_the_start_goes_on),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
