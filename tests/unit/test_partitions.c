/*
 * Monthly partitions against a real PostgreSQL, with a wall clock that the tests set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/timestamp.h"
#include "ledger/months.h"
#include "ledger/partitions.h"
#include "support/pg_fixture.h"

#define LOCK_ALL "BEGIN; SELECT pg_advisory_xact_lock(1635083369, 2)"

struct end {
  bool is_done;
  int calls;
  struct error err;
};

static void on_end(void *arg, const struct error *err) {
  struct end *end = arg;
  end->is_done = true;
  end->calls++;
  if (err)
    end->err = *err;
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

static void close_partitions(struct pg_fixture *f, struct partitions *p) {
  bool is_closed = false;
  partitions_close(p, set_flag, &is_closed);
  assert_false(is_closed);
  pg_fixture_run_until(f, &is_closed);
}

static const struct config_storage rarely = {
    .max_partitions = 1000, .partitions_ahead = 3, .partition_check_every_us = 3600LL * 1000000};

static struct partitions *start(struct pg_fixture *f, const struct config_storage *config) {
  struct partitions *p = partitions_new(&f->loop, f->pool, config);
  struct end end = {.is_done = false};
  partitions_start(p, on_end, &end);
  assert_false(end.is_done);
  pg_fixture_run_until(f, &end.is_done);
  assert_string_equal(end.err.text, "");
  return p;
}

static struct end ensure(struct pg_fixture *f, struct partitions *p, int month) {
  struct end end = {.is_done = false};
  partitions_ensure(p, month, pg_fixture_deadline(f), on_end, &end);
  assert_false(end.is_done);
  pg_fixture_run_until(f, &end.is_done);
  return end;
}

static int month_of(int year, int month) {
  return year * 12 + month - 1;
}

static int64_t time_of(const char *text) {
  int64_t us = 0;
  assert_true(timestamp_parse(str_z(text), &us));
  return us;
}

/* The partitions in order, as "2026_01 2026_02". */
static void assert_partitions(struct pg_fixture *f, const char *expected) {
  PGresult *result =
      PQexec(f->observer,
             "SELECT coalesce(string_agg(substr(c.relname, 14), ' ' ORDER BY relname)"
             ", '') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
             "WHERE i.inhparent = 'public.audit_events'::regclass");
  assert_string_equal(PQgetvalue(result, 0, 0), expected);
  PQclear(result);
}

static void insert_at(struct pg_fixture *f, const char *time) {
  char sql[400];
  (void)snprintf(sql, sizeof(sql),
                 "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence,"
                 " event_type, event_category, event_action, outcome) "
                 "VALUES (gen_random_uuid(), '%s', now(), 1, 1, 't', 'c', 'a', 1)",
                 time);
  pg_observer_run(f->observer, sql);
}

static void run_until_known(struct pg_fixture *f, const struct partitions *p, int month) {
  int64_t limit_us = pg_fixture_deadline(f);
  while (!partitions_has(p, month) && clock_monotonic_us(&f->clock) < limit_us)
    uv_run(&f->uv, UV_RUN_NOWAIT);
  assert_true(partitions_has(p, month));
}

/* ---- the months around now ---- */

static void on_the_31st_of_january_no_month_is_skipped(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2027-01-31T23:59:59.999999Z");
  struct partitions *p = start(f, &rarely);
  assert_partitions(f, "2026_12 2027_01 2027_02 2027_03 2027_04");
  for (int month = month_of(2026, 12); month <= month_of(2027, 4); month++)
    assert_true(partitions_has(p, month));
  assert_false(partitions_has(p, month_of(2026, 11)));
  assert_false(partitions_has(p, month_of(2027, 5)));
  close_partitions(f, p);
}

static void on_the_31st_of_december_the_year_turns(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2026-12-31T00:00:00Z");
  struct partitions *p = start(f, &rarely);
  assert_partitions(f, "2026_11 2026_12 2027_01 2027_02 2027_03");
  close_partitions(f, p);
}

static void every_instant_of_the_months_has_its_place(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2028-02-29T12:00:00Z");
  pg_observer_run(f->observer, "ALTER DATABASE auditstore SET timezone = 'Pacific/Auckland'");
  struct partitions *p = start(f, &rarely);
  pg_observer_run(f->observer, "ALTER DATABASE auditstore RESET timezone");
  static const char *const times[] = {"2028-01-01 00:00:00+00", "2028-01-31 23:59:59.999999+00",
                                      "2028-02-01 00:00:00+00", "2028-02-29 23:59:59.999999+00",
                                      "2028-03-01 00:00:00+00", "2028-05-31 23:59:59.999999+00"};
  for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
    insert_at(f, times[i]);
  assert_int_equal(pg_observer_int(f->observer,
                                   "SELECT count(*) FROM audit_events WHERE tableoid::regclass"
                                   "::text = to_char(event_time AT TIME ZONE 'UTC', "
                                   "'\"audit_events_\"YYYY_MM')"),
                   6);
  close_partitions(f, p);
}

static void months_are_made_while_time_goes_on(void **state) {
  struct pg_fixture *f = *state;
  const struct config_storage often = {
      .max_partitions = 1000, .partitions_ahead = 0, .partition_check_every_us = 20000};
  f->wall_us = time_of("2026-11-30T23:59:59Z");
  struct partitions *p = start(f, &often);
  assert_false(partitions_has(p, month_of(2026, 12)));
  f->wall_us += 2000000;
  run_until_known(f, p, month_of(2026, 12));
  assert_partitions(f, "2026_10 2026_11 2026_12");
  close_partitions(f, p);
}

static void a_failed_round_is_told_and_tried_again(void **state) {
  struct pg_fixture *f = *state;
  const struct config_storage often = {
      .max_partitions = 1000, .partitions_ahead = 0, .partition_check_every_us = 20000};
  f->wall_us = time_of("2026-11-15T00:00:00Z");
  pg_observer_run(f->observer, "CREATE TABLE audit_events_2026_11 (a int)");
  struct partitions *p = partitions_new(&f->loop, f->pool, &often);
  struct end end = {.is_done = false};
  partitions_start(p, on_end, &end);
  pg_fixture_run_until(f, &end.is_done);
  assert_int_equal(end.err.code, ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(end.err.text, "audit_events_2026_11"));
  assert_true(partitions_has(p, month_of(2026, 10)));
  assert_false(partitions_has(p, month_of(2026, 11)));
  pg_observer_run(f->observer, "DROP TABLE audit_events_2026_11");
  run_until_known(f, p, month_of(2026, 11));
  assert_int_equal(end.calls, 1);
  close_partitions(f, p);
}

static void two_daemons_at_once_make_each_month_once(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2026-11-15T00:00:00Z");
  pg_observer_run(f->observer, LOCK_ALL);
  struct partitions *both[2];
  struct end ends[2] = {{.is_done = false}};
  for (int i = 0; i < 2; i++) {
    both[i] = partitions_new(&f->loop, f->pool, &rarely);
    partitions_start(both[i], on_end, &ends[i]);
  }
  /* Both have seen that nothing is there when they may begin. */
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING, 2);
  pg_observer_run(f->observer, "COMMIT");
  for (int i = 0; i < 2; i++) {
    pg_fixture_run_until(f, &ends[i].is_done);
    assert_string_equal(ends[i].err.text, "");
    assert_true(partitions_has(both[i], month_of(2027, 2)));
  }
  assert_partitions(f, "2026_10 2026_11 2026_12 2027_01 2027_02");
  close_partitions(f, both[0]);
  close_partitions(f, both[1]);
}

static void months_that_exist_are_known_by_their_bounds(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2026-11-15T00:00:00Z");
  pg_observer_run(f->observer,
                  "CREATE TABLE old PARTITION OF audit_events FOR VALUES FROM (MINVALUE) "
                  "TO ('2026-11-01 00:00:00+00');"
                  "CREATE TABLE this_one PARTITION OF audit_events "
                  "FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2027-02-15 00:00:00+00')");
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  struct end end = {.is_done = false};
  partitions_start(p, on_end, &end);
  pg_fixture_run_until(f, &end.is_done);
  assert_true(partitions_has(p, MONTH_MIN));
  assert_true(partitions_has(p, month_of(2026, 10)));
  assert_true(partitions_has(p, month_of(2027, 1)));
  /* Half of it is taken: it can't be made, and it isn't wholly there. */
  assert_false(partitions_has(p, month_of(2027, 2)));
  assert_int_not_equal(end.err.code, ERR_OK);
  assert_non_null(strstr(end.err.text, "audit_events_2027_02"));
  close_partitions(f, p);
}

static void a_range_holds_the_months_that_lie_wholly_in_it(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
    int first, last; /* of 2026; first > last: none */
  } cases[] = {
      {"2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z", 3, 4},
      {"2026-03-01T00:00:00.000001Z", "2026-05-01T00:00:00Z", 4, 4},
      {"2026-02-28T23:59:59.999999Z", "2026-05-01T00:00:00Z", 3, 4},
      {"2026-03-01T00:00:00Z", "2026-04-30T23:59:59.999999Z", 3, 3},
      {"2026-03-02T00:00:00Z", "2026-03-31T00:00:00Z", 1, 0},
      {"2026-05-01T00:00:00Z", "2026-03-01T00:00:00Z", 1, 0},
      {"2025-06-01T00:00:00Z", "2027-06-01T00:00:00Z", 1, 12},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct month_set set = {.words = {0}};
    month_set_add_range(&set, time_of(cases[i].from), time_of(cases[i].to));
    for (int month = 1; month <= 12; month++)
      assert_int_equal(month_set_has(&set, month_of(2026, month)),
                       month >= cases[i].first && month <= cases[i].last);
  }
  struct month_set all = {.words = {0}};
  month_set_add_range(&all, INT64_MIN, INT64_MAX);
  assert_true(month_set_has(&all, MONTH_MIN) && month_set_has(&all, MONTH_MAX));
  assert_false(month_set_has(&all, MONTH_MIN - 1));
  assert_false(month_set_has(&all, MONTH_MAX + 1));
}

/* ---- on demand ---- */

static void a_month_is_made_on_demand(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  static const int months[] = {MONTH_MIN, 1969 * 12 + 11, 2024 * 12 + 1, MONTH_MAX};
  for (size_t i = 0; i < sizeof(months) / sizeof(months[0]); i++) {
    struct end end = ensure(f, p, months[i]);
    assert_string_equal(end.err.text, "");
    assert_true(partitions_has(p, months[i]));
  }
  assert_partitions(f, "0001_01 1969_12 2024_02 9999_12");
  insert_at(f, "9999-12-31 23:59:59.999999+00");
  insert_at(f, "0001-01-01 00:00:00+00");
  close_partitions(f, p);
}

static void a_month_outside_the_calendar_is_refused(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  assert_int_equal(ensure(f, p, MONTH_MAX + 1).err.code, ERR_INVALID_ARGUMENT);
  assert_int_equal(ensure(f, p, MONTH_MIN - 1).err.code, ERR_INVALID_ARGUMENT);
  assert_false(partitions_has(p, -1));
  close_partitions(f, p);
}

static void requests_for_one_month_are_served_together(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  struct end ends[50] = {{.is_done = false}};
  for (int i = 0; i < 50; i++)
    partitions_ensure(p, month_of(2030, 1 + i % 2), pg_fixture_deadline(f), on_end, &ends[i]);
  for (int i = 0; i < 50; i++) {
    pg_fixture_run_until(f, &ends[i].is_done);
    assert_int_equal(ends[i].err.code, ERR_OK);
    assert_int_equal(ends[i].calls, 1);
  }
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  assert_int_equal(stats.acquires[PG_ACQUIRE_OK], 1);
  close_partitions(f, p);
}

static void a_month_that_another_made_meanwhile_is_no_failure(void **state) {
  struct pg_fixture *f = *state;
  f->wall_us = time_of("2030-01-15T00:00:00Z");
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  pg_observer_run(f->observer, LOCK_ALL);
  struct end end = {.is_done = false};
  partitions_start(p, on_end, &end);
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING, 1);
  pg_observer_run(f->observer,
                  "CREATE TABLE by_hand PARTITION OF audit_events FOR VALUES "
                  "FROM ('2030-01-01 00:00:00+00') TO ('2030-02-01 00:00:00+00'); COMMIT");
  pg_fixture_run_until(f, &end.is_done);
  assert_string_equal(end.err.text, "");
  close_partitions(f, p);
}

static void a_request_during_a_round_gets_the_next(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  pg_observer_run(f->observer, LOCK_ALL);
  struct end ends[2] = {{.is_done = false}};
  partitions_ensure(p, month_of(2030, 1), pg_fixture_deadline(f), on_end, &ends[0]);
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING, 1);
  partitions_ensure(p, month_of(2030, 2), pg_fixture_deadline(f), on_end, &ends[1]);
  pg_observer_run(f->observer, "COMMIT");
  for (int i = 0; i < 2; i++) {
    pg_fixture_run_until(f, &ends[i].is_done);
    assert_string_equal(ends[i].err.text, "");
  }
  assert_partitions(f, "2030_01 2030_02");
  close_partitions(f, p);
}

static void a_request_ends_at_its_deadline(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  pg_observer_run(f->observer, LOCK_ALL);
  struct end late = {.is_done = false};
  struct end patient = {.is_done = false};
  int64_t soon_us = clock_monotonic_us(&f->clock) + 50000;
  partitions_ensure(p, month_of(2030, 1), soon_us, on_end, &late);
  partitions_ensure(p, month_of(2030, 1), pg_fixture_deadline(f), on_end, &patient);
  pg_fixture_run_until(f, &late.is_done);
  assert_int_equal(late.err.code, ERR_TIMEOUT);
  assert_false(patient.is_done);
  pg_observer_run(f->observer, "COMMIT");
  pg_fixture_run_until(f, &patient.is_done);
  assert_int_equal(patient.err.code, ERR_OK);
  assert_int_equal(late.calls, 1);
  close_partitions(f, p);
}

/* CREATE TABLE ... PARTITION OF would wait for this reader, and all writers behind it. */
static void readers_and_writers_are_not_waited_for(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  assert_int_equal(ensure(f, p, month_of(2030, 1)).err.code, ERR_OK);
  pg_observer_run(f->observer, "BEGIN; SELECT * FROM audit_events");
  insert_at(f, "2030-01-05 00:00:00+00");
  assert_int_equal(ensure(f, p, month_of(2030, 2)).err.code, ERR_OK);
  pg_observer_run(f->observer, "ROLLBACK");
  close_partitions(f, p);
}

static void a_table_of_the_same_name_elsewhere_is_not_mistaken(void **state) {
  struct pg_fixture *f = *state;
  pg_observer_run(f->observer,
                  "DROP SCHEMA IF EXISTS \"it's other\" CASCADE;"
                  "CREATE SCHEMA \"it's other\";"
                  "CREATE TABLE \"it's other\".audit_events_2030_01 (a int);"
                  "ALTER DATABASE auditstore SET search_path = \"it's other\", public");
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  struct end end = ensure(f, p, month_of(2030, 1));
  pg_observer_run(f->observer, "ALTER DATABASE auditstore RESET search_path");
  assert_string_equal(end.err.text, "");
  assert_partitions(f, "2030_01");
  close_partitions(f, p);
}

static void a_partition_that_was_dropped_is_made_again(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  assert_int_equal(ensure(f, p, month_of(2030, 1)).err.code, ERR_OK);
  pg_observer_run(f->observer, "DROP TABLE audit_events_2030_01");
  assert_int_equal(ensure(f, p, month_of(2030, 1)).err.code, ERR_OK);
  assert_partitions(f, "2030_01");
  close_partitions(f, p);
}

static void closing_ends_what_waits(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  struct end first = {.is_done = false};
  struct end request = {.is_done = false};
  partitions_start(p, on_end, &first);
  partitions_ensure(p, month_of(2030, 1), pg_fixture_deadline(f), on_end, &request);
  close_partitions(f, p);
  assert_int_equal(first.err.code, ERR_CANCELED);
  assert_int_equal(request.err.code, ERR_CANCELED);
  assert_int_equal(first.calls, 1);
  assert_int_equal(request.calls, 1);
}

static void closing_waits_for_a_round_under_way(void **state) {
  struct pg_fixture *f = *state;
  struct partitions *p = partitions_new(&f->loop, f->pool, &rarely);
  pg_observer_run(f->observer, LOCK_ALL);
  struct end request = {.is_done = false};
  partitions_ensure(p, month_of(2030, 1), pg_fixture_deadline(f), on_end, &request);
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING, 1);
  bool is_closed = false;
  partitions_close(p, set_flag, &is_closed);
  uv_run(&f->uv, UV_RUN_NOWAIT);
  assert_false(is_closed);
  pg_observer_run(f->observer, "COMMIT");
  pg_fixture_run_until(f, &is_closed);
  assert_int_equal(request.err.code, ERR_OK);
  assert_partitions(f, "2030_01");
}

/* ---- frame ---- */

static int setup(void **state) {
  pg_fixture_open(*state);
  pg_fixture_migrate(*state);
  /* Its connection holds settings that a test may change for the next ones. */
  struct pg_fixture *f = *state;
  bool is_drained = false;
  pg_pool_drain(f->pool, pg_fixture_deadline(f), set_flag, &is_drained);
  pg_fixture_run_until(f, &is_drained);
  pg_pool_free(f->pool);
  struct error err;
  return pg_pool_new(&f->pool, &f->loop, &f->database, &err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(on_the_31st_of_january_no_month_is_skipped),
      TEST(on_the_31st_of_december_the_year_turns),
      TEST(every_instant_of_the_months_has_its_place),
      TEST(months_are_made_while_time_goes_on),
      TEST(a_failed_round_is_told_and_tried_again),
      TEST(two_daemons_at_once_make_each_month_once),
      TEST(months_that_exist_are_known_by_their_bounds),
      cmocka_unit_test(a_range_holds_the_months_that_lie_wholly_in_it),
      TEST(a_month_is_made_on_demand),
      TEST(a_month_outside_the_calendar_is_refused),
      TEST(requests_for_one_month_are_served_together),
      TEST(a_month_that_another_made_meanwhile_is_no_failure),
      TEST(a_request_during_a_round_gets_the_next),
      TEST(a_request_ends_at_its_deadline),
      TEST(readers_and_writers_are_not_waited_for),
      TEST(a_table_of_the_same_name_elsewhere_is_not_mistaken),
      TEST(a_partition_that_was_dropped_is_made_again),
      TEST(closing_ends_what_waits),
      TEST(closing_waits_for_a_round_under_way),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
