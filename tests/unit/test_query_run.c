/*
 * One event by its id, and what becomes of queries that fail, last too long or are dropped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "query/get.h"
#include "support/query_fixture.h"

/* ---- one event ---- */

struct got {
  bool is_done;
  int rc;
  char text[UUID_TEXT_LEN];
  int64_t seconds;
};

static void on_event(void *arg, const PGresult *result) {
  struct got *got = arg;
  struct arena arena;
  arena_init(&arena, GET_ARENA_BYTES);
  Auditstore__V1__GetEventResponse response = AUDITSTORE__V1__GET_EVENT_RESPONSE__INIT;
  got->rc = get_read(result, &arena, &response, NULL);
  if (got->rc == 0) {
    memcpy(got->text, response.event->event->event_id.data, UUID_TEXT_LEN);
    got->seconds = response.event->event->event_time->seconds;
  }
  arena_deinit(&arena);
}

static void on_got(void *arg, struct grpc_status *status) {
  struct got *got = arg;
  assert_null(status);
  got->is_done = true;
}

static struct got get(struct pg_fixture *f, const char *id) {
  struct got got = {.is_done = false};
  struct sql sql;
  Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
  request.event_id = (ProtobufCBinaryData){.len = strlen(id), .data = (uint8_t *)id};
  assert_null(get_init(&sql, &request));
  struct query_run run = query_fixture_run(f, &sql, query_fixture_config.timeout_us, NULL);
  run.on_rows = on_event;
  run.on_end = on_got;
  run.arg = &got;
  query_run_start(&run, f->pool, "test");
  pg_fixture_run_until(f, &got.is_done);
  sql_deinit(&sql);
  return got;
}

static void an_event_is_found_by_its_id(void **state) {
  struct pg_fixture *f = *state;
  struct got got = get(f, "C4CA4238-a0b9-2382-0dcc-509a6f75849b"); /* md5 of "1" */
  assert_int_equal(got.rc, 0);
  assert_memory_equal(got.text, "c4ca4238-a0b9-2382-0dcc-509a6f75849b", UUID_TEXT_LEN);
}

static void the_newest_of_several_events_with_one_id_is_found(void **state) {
  struct pg_fixture *f = *state;
  pg_observer_run(f->observer,
                  "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, "
                  "sequence, event_type, event_category, event_action, outcome) SELECT "
                  "'11111111-2222-3333-4444-555555555555', t::timestamptz, now(), 2, 1, 't', 'c', "
                  "'a', 1 FROM unnest('{2026-10-05 00:00+00,2026-11-05 00:00+00,"
                  "2026-09-05 00:00+00}'::text[]) t");
  struct got got = get(f, "11111111-2222-3333-4444-555555555555");
  assert_int_equal(got.rc, 0);
  Google__Protobuf__Timestamp newest = timestamp_of("2026-11-05T00:00:00Z", 0);
  assert_int_equal(got.seconds, newest.seconds);
}

static void an_event_that_is_not_there_is_not_found(void **state) {
  struct pg_fixture *f = *state;
  assert_int_equal(get(f, "11111111-2222-3333-4444-555555555555").rc, ERR_NOT_FOUND);
}

/* ---- failures ---- */

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

/* Runs any statement; returns its status, which the caller frees. */
static struct grpc_status *run_text(struct pg_fixture *f, struct pg_pool *pool, const char *text,
                                    int64_t timeout_us) {
  struct collector *c = xcalloc(1, sizeof(*c));
  struct sql sql;
  sql_init(&sql);
  sql_add(&sql, text);
  struct query_run run = query_fixture_run(f, &sql, timeout_us, c);
  query_run_start(&run, pool, "test");
  pg_fixture_run_until(f, &c->is_done);
  struct grpc_status *status = c->status;
  sql_deinit(&sql);
  free(c);
  return status;
}

static void a_query_that_takes_too_long_is_stopped_by_the_server(void **state) {
  struct pg_fixture *f = *state;
  struct grpc_status *status = run_text(f, f->pool, "SELECT pg_sleep(20)", 50000);
  assert_non_null(status);
  assert_int_equal(grpc_status_code(status), GRPC_DEADLINE_EXCEEDED);
  grpc_status_free(status);
  /* The connection lives on, with the timeout it had before. */
  assert_null(run_text(f, f->pool, "SELECT pg_sleep(0.1)", 5000000));
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  assert_int_equal(pg_stats_closed(&stats), 0);
}

struct plain_run {
  struct pg_lease *conn;
  bool is_done;
  enum pg_outcome_kind kind;
};

static void on_plain_done(void *arg, const struct pg_outcome *outcome) {
  struct plain_run *plain = arg;
  pg_release(plain->conn);
  plain->kind = outcome->kind;
  plain->is_done = true;
}

static void run_plain(struct plain_run *plain, struct pg_lease *conn,
                      const struct pg_statement *statement) {
  static const struct pg_pipeline_cb cb = {.on_done = on_plain_done};
  assert_non_null(conn);
  plain->conn = conn;
  pg_send(conn, statement, NULL);
  pg_run(conn, CLOCK_NEVER, &cb, plain);
}

static void on_plain_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_statement statement = {.sql = "SELECT pg_sleep(0.3)"};
  (void)err;
  run_plain(arg, conn, &statement);
}

static void on_default_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_statement statement = {
      .sql = "SELECT 1 / (current_setting('max_parallel_workers_per_gather') <> '0')::int"};
  (void)err;
  run_plain(arg, conn, &statement);
}

/* The connection goes to others, whose work may take longer. */
static void the_timeout_ends_with_its_query(void **state) {
  struct pg_fixture *f = *state;
  assert_null(run_text(f, f->pool, "SELECT 1", 200000));
  struct plain_run plain = {.is_done = false};
  pg_acquire(f->pool, pg_fixture_deadline(f), "test", on_plain_acquired, &plain);
  pg_fixture_run_until(f, &plain.is_done);
  assert_int_equal(plain.kind, PG_OK);
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  assert_int_equal(stats.opened, 1);
}

static void a_refused_query_is_an_internal_error_without_details(void **state) {
  struct pg_fixture *f = *state;
  log_configure(LOG_ERROR, LOG_TEXT);
  struct grpc_status *status = run_text(f, f->pool, "SELECT 'secret'::int", 5000000);
  log_configure(LOG_INFO, LOG_TEXT);
  assert_non_null(status);
  assert_int_equal(grpc_status_code(status), GRPC_INTERNAL);
  assert_non_null(strstr(grpc_status_message(status), "22P02"));
  assert_null(strstr(grpc_status_message(status), "secret"));
  grpc_status_free(status);
}

static void a_server_out_of_reach_is_unavailable(void **state) {
  struct pg_fixture *f = *state;
  struct config_database away = f->database;
  away.port = 1;
  away.fail_fast_after_us = 0;
  struct pg_pool *pool;
  struct error err;
  assert_int_equal(pg_pool_new(&pool, &f->loop, &away, &err), 0);
  struct grpc_status *status = run_text(f, pool, "SELECT 1", 5000000);
  assert_non_null(status);
  assert_int_equal(grpc_status_code(status), GRPC_UNAVAILABLE);
  assert_int_equal(grpc_status_proto(status)->n_details, 1);
  grpc_status_free(status);
  bool is_drained = false;
  pg_pool_drain(pool, pg_fixture_deadline(f), set_flag, &is_drained);
  pg_fixture_run_until(f, &is_drained);
  pg_pool_free(pool);
}

static void a_pool_without_a_free_connection_is_exhausted(void **state) {
  struct pg_fixture *f = *state;
  struct config_database small = f->database;
  small.max_open_conns = 1;
  small.acquire_timeout_us = 50000;
  struct pg_pool *pool;
  struct error err;
  assert_int_equal(pg_pool_new(&pool, &f->loop, &small, &err), 0);
  struct collector *c = xcalloc(1, sizeof(*c));
  struct sql sql;
  sql_init(&sql);
  sql_add(&sql, "SELECT pg_sleep(1)");
  struct query_run run = query_fixture_run(f, &sql, 5000000, c);
  query_run_start(&run, pool, "test");
  struct grpc_status *status = run_text(f, pool, "SELECT 1", 5000000);
  assert_int_equal(grpc_status_code(status), GRPC_RESOURCE_EXHAUSTED);
  grpc_status_free(status);
  status = run_text(f, pool, "SELECT 1", 10000);
  assert_int_equal(grpc_status_code(status), GRPC_DEADLINE_EXCEEDED);
  grpc_status_free(status);
  pg_fixture_run_until(f, &c->is_done);
  assert_null(c->status);
  bool is_drained = false;
  pg_pool_drain(pool, pg_fixture_deadline(f), set_flag, &is_drained);
  pg_fixture_run_until(f, &is_drained);
  pg_pool_free(pool);
  sql_deinit(&sql);
  free(c);
}

/* ---- queries that are given up ---- */

/* Runs `text` until it has a connection, then gives it up and waits until nothing is left of it. */
static void abandon(struct pg_fixture *f, const char *text) {
  struct collector *c = xcalloc(1, sizeof(*c));
  struct sql sql;
  sql_init(&sql);
  sql_add(&sql, text);
  struct query_run run = query_fixture_run(f, &sql, 20000000, c);
  query_run_start(&run, f->pool, "test");
  while (!run.conn)
    uv_run(&f->uv, UV_RUN_ONCE);
  bool had_rows = c->has_rows;
  assert_true(query_run_abandon(&run));
  pg_fixture_run_until(f, &c->is_gone);
  assert_false(c->is_done);
  assert_int_equal(c->has_rows, had_rows);
  sql_deinit(&sql);
  free(c);
}

static int64_t closed_by_cancel(struct pg_fixture *f) {
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  assert_int_equal(stats.in_use, 0);
  return stats.closed[PG_CLOSE_CANCEL];
}

static void a_query_given_up_while_it_waits_leaves_nothing(void **state) {
  struct pg_fixture *f = *state;
  struct sql sql;
  sql_init(&sql);
  sql_add(&sql, "SELECT 1");
  struct query_run run = query_fixture_run(f, &sql, 5000000, NULL);
  query_run_start(&run, f->pool, "test");
  assert_false(query_run_abandon(&run));
  assert_null(run_text(f, f->pool, "SELECT 1", 5000000));
  sql_deinit(&sql);
}

static void a_query_given_up_that_ends_soon_costs_no_connection(void **state) {
  struct pg_fixture *f = *state;
  for (int i = 0; i < 20; i++)
    abandon(f, "SELECT 1");
  assert_int_equal(closed_by_cancel(f), 0);
  struct pg_pool_stats stats;
  pg_pool_stats(f->pool, &stats);
  assert_int_equal(stats.opened, 1);
}

#define AT_WORK "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(20)%'"

static void a_query_given_up_is_over_when_postgresql_has_ended_it(void **state) {
  struct pg_fixture *f = *state;
  abandon(f, "SELECT pg_sleep(20)");
  assert_int_equal(closed_by_cancel(f), 1);
  PGresult *result = PQexec(f->observer, AT_WORK " AND state = 'active'");
  assert_string_equal(PQgetvalue(result, 0, 0), "0");
  PQclear(result);
}

/* ---- what a query may have ---- */

static void a_query_has_no_parallel_workers_and_leaves_the_session_as_it_was(void **state) {
  struct pg_fixture *f = *state;
  /* Division by zero shows what the session has. */
  assert_null(run_text(f, f->pool,
                       "SELECT 1 / (current_setting('max_parallel_workers_per_gather') = '0' AND "
                       "current_setting('jit') = 'off')::int",
                       5000000));
  struct plain_run plain = {.is_done = false};
  pg_acquire(f->pool, pg_fixture_deadline(f), "test", on_default_acquired, &plain);
  pg_fixture_run_until(f, &plain.is_done);
  assert_int_equal(plain.kind, PG_OK);
}

/* ---- frame ---- */

static int setup(void **state) {
  query_fixture_open(*state);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_event_is_found_by_its_id),
      TEST(the_newest_of_several_events_with_one_id_is_found),
      TEST(an_event_that_is_not_there_is_not_found),
      TEST(a_query_that_takes_too_long_is_stopped_by_the_server),
      TEST(the_timeout_ends_with_its_query),
      TEST(a_refused_query_is_an_internal_error_without_details),
      TEST(a_server_out_of_reach_is_unavailable),
      TEST(a_pool_without_a_free_connection_is_exhausted),
      TEST(a_query_given_up_while_it_waits_leaves_nothing),
      TEST(a_query_given_up_that_ends_soon_costs_no_connection),
      TEST(a_query_given_up_is_over_when_postgresql_has_ended_it),
      TEST(a_query_has_no_parallel_workers_and_leaves_the_session_as_it_was),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
