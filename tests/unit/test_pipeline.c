#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pg/binary.h"
#include "support/pg_world.h"

static const Oid text_types[] = {PG_TEXT};

static int start_server(void **state) {
  static struct pg_server server;
  pg_server_start(&server, NULL);
  PGconn *observer = pg_observer_open(&server);
  pg_observer_run(observer, "CREATE TABLE fruit (id int8 PRIMARY KEY, name text)");
  PQfinish(observer);
  *state = &server;
  return 0;
}

static int remove_server(void **state) {
  pg_server_remove(*state);
  return 0;
}

static struct pg_lease *open_world(struct pg_world *world, void **state, const char *name) {
  pg_world_init(world, *state, name);
  pg_observer_run(world->observer, "TRUNCATE fruit");
  pg_world_open(world);
  return pg_world_acquire(world);
}

static void close_world(struct pg_world *world, struct pg_lease *conn) {
  pg_release(conn);
  pg_world_deinit(world);
}

static int64_t fruits(struct pg_world *world) {
  return pg_observer_int(world->observer, "SELECT count(*) FROM fruit");
}

static int backend_pid(struct pg_world *world, struct pg_lease *conn) {
  return (int)pg_world_int(world, conn, "SELECT pg_backend_pid()::int8");
}

/* ---- results ---- */

struct order {
  int statements[8];
  int64_t values[8];
  int count;
  bool is_done;
  struct pg_outcome outcome;
};

static void on_ordered(void *arg, int statement, const PGresult *result) {
  struct order *order = arg;
  assert_false(order->is_done);
  order->statements[order->count] = statement;
  assert_true(pg_get_int8(str_of(PQgetvalue(result, 0, 0), 8), &order->values[order->count]));
  order->count++;
}

static void on_order_done(void *arg, const struct pg_outcome *outcome) {
  struct order *order = arg;
  order->is_done = true;
  order->outcome = *outcome;
}

static bool is_order_done(void *arg) {
  return ((struct order *)arg)->is_done;
}

static void results_come_in_order_and_binary(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  static const struct pg_pipeline_cb cb = {.on_result = on_ordered, .on_done = on_order_done};
  struct order order = {0};
  pg_world_send(conn, "SELECT 10::int8");
  pg_world_send(conn, "SELECT -20::int8");
  pg_world_send(conn, "SELECT 30::int8");
  pg_run(conn, CLOCK_NEVER, &cb, &order);
  pg_world_wait(&world, is_order_done, &order);
  assert_int_equal(order.outcome.kind, PG_OK);
  assert_int_equal(order.count, 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(order.statements[i], i);
  assert_int_equal(order.values[1], -20);
  assert_int_equal(order.values[2], 30);
  close_world(&world, conn);
}

static void an_empty_pipeline_ends_well(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.result_count, 0);
  close_world(&world, conn);
}

static void a_pipeline_commits_all_its_statements(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'apple')");
  pg_world_send(conn, "INSERT INTO fruit VALUES (2, 'pear')");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.result_count, 2);
  assert_int_equal(fruits(&world), 2);
  close_world(&world, conn);
}

static void a_refused_statement_undoes_those_before_it(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'apple')");
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'pear')");
  pg_world_send(conn, "INSERT INTO fruit VALUES (3, 'plum')");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_int_equal(run.outcome.statement, 1);
  assert_string_equal(run.outcome.sqlstate, "23505");
  assert_string_equal(run.outcome.constraint, "fruit_pkey");
  assert_int_equal(run.outcome.err.code, ERR_ALREADY_EXISTS);
  assert_null(strstr(run.outcome.err.text, "Key (id)"));
  assert_int_equal(fruits(&world), 0);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  close_world(&world, conn);
}

static void an_error_at_commit_is_a_refusal(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_observer_run(world.observer,
                  "CREATE TABLE once (id int8 UNIQUE DEFERRABLE INITIALLY "
                  "DEFERRED)");
  pg_world_send(conn, "INSERT INTO once VALUES (1)");
  pg_world_send(conn, "INSERT INTO once VALUES (1)");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "23505");
  assert_int_equal(run.outcome.statement, 1);
  assert_int_equal(pg_observer_int(world.observer, "SELECT count(*) FROM once"), 0);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  close_world(&world, conn);
}

static void a_transaction_left_open_is_never_reported_as_committed(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "BEGIN");
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'apple')");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_int_equal(run.outcome.err.code, ERR_INTERNAL);
  close_world(&world, conn);
}

static void a_copy_ends_the_connection(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "COPY fruit FROM STDIN");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_non_null(strstr(run.outcome.err.text, "COPY"));
  close_world(&world, conn);
}

/* ---- prepared statements ---- */

static const struct pg_statement put_fruit = {.name = "put_fruit",
                                              .sql = "INSERT INTO fruit (name, id) VALUES ($1, 1)",
                                              .param_count = 1,
                                              .param_types = text_types};

static void send_text(struct pg_lease *conn, const struct pg_statement *statement, const char *text,
                      size_t len) {
  const char *values[] = {text};
  const int lengths[] = {(int)len};
  pg_send(conn, statement, &(struct pg_params){.values = values, .lengths = lengths});
}

static void a_named_statement_is_prepared_once(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  static const struct pg_statement len = {
      .name = "len", .sql = "SELECT length($1)::int8", .param_count = 1, .param_types = text_types};
  for (int i = 0; i < 3; i++) {
    send_text(conn, &len, "abc", 3);
    send_text(conn, &len, "abcde", 5);
    pg_world_finish(&world, conn, CLOCK_NEVER, &run);
    assert_int_equal(run.outcome.kind, PG_OK);
    assert_int_equal(run.result_count, 2);
    assert_int_equal(run.value, 5);
  }
  assert_int_equal(pg_world_int(&world, conn, "SELECT count(*) FROM pg_prepared_statements"), 1);
  close_world(&world, conn);
}

static void a_statement_that_failed_to_prepare_is_prepared_again(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  static const struct pg_statement later = {.name = "later", .sql = "SELECT count(*) FROM later"};
  pg_world_execute(&world, conn, &later, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "42P01");
  assert_int_equal(run.outcome.err.code, ERR_FAILED_PRECONDITION);
  assert_int_equal(run.outcome.statement, 0);
  pg_observer_run(world.observer, "CREATE TABLE later (id int8)");
  pg_world_execute(&world, conn, &later, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  close_world(&world, conn);
}

static void a_statement_behind_a_refused_one_is_prepared_again(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "SELECT 1/0");
  send_text(conn, &put_fruit, "fig", 3);
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_int_equal(run.outcome.statement, 0);
  assert_int_equal(run.outcome.err.code, ERR_INVALID_ARGUMENT);
  send_text(conn, &put_fruit, "fig", 3);
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(fruits(&world), 1);
  close_world(&world, conn);
}

static void a_stale_plan_is_made_anew(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  static const struct pg_statement all = {.name = "all", .sql = "SELECT * FROM shape"};
  pg_observer_run(world.observer, "CREATE TABLE shape (a int8)");
  pg_world_execute(&world, conn, &all, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  pg_observer_run(world.observer, "ALTER TABLE shape ADD b text");
  pg_world_execute(&world, conn, &all, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "0A000");
  assert_true(error_is_retryable(run.outcome.err.code));
  pg_world_execute(&world, conn, &all, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  close_world(&world, conn);
}

static void a_statement_that_vanished_is_prepared_again(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  static const struct pg_statement one = {.name = "one", .sql = "SELECT 1::int8"};
  pg_world_execute(&world, conn, &one, &run);
  pg_world_script(&world, conn, "DEALLOCATE ALL", &run);
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_int_equal(run.outcome.err.code, ERR_UNAVAILABLE);
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.value, 1);
  close_world(&world, conn);
}

/* ---- loss ---- */

static bool is_busy(void *arg) {
  struct pg_world *world = arg;
  return pg_observer_int(world->observer,
                         "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
                         "'SELECT pg_sleep%' AND state = 'active'") > 0;
}

static bool is_run_done(void *arg) {
  return ((struct pg_world_run *)arg)->is_done;
}

static void a_backend_killed_amid_a_pipeline_leaves_it_in_doubt(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run = {0};
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'apple')");
  pg_world_send(conn, "SELECT pg_sleep(60)");
  pg_run(conn, CLOCK_NEVER, &pg_world_run_cb, &run);
  pg_world_wait(&world, is_busy, &world);
  assert_int_equal(pg_observer_kill(world.observer, __func__), 1);
  pg_world_wait(&world, is_run_done, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_true(run.outcome.is_in_doubt);
  assert_string_equal(run.outcome.sqlstate, "57P01");
  assert_int_equal(run.outcome.err.code, ERR_UNAVAILABLE);
  assert_int_equal(fruits(&world), 0);
  close_world(&world, conn);
}

static bool is_backend_gone(void *arg) {
  struct pg_world *world = arg;
  return pg_observer_count(world->observer, world->config.application_name) == 0;
}

static void a_dead_lease_loses_the_next_pipeline_without_doubt(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_observer_kill(world.observer, __func__);
  pg_world_wait(&world, is_backend_gone, &world);
  pg_world_run_for(&world, 20000);
  pg_world_send(conn, "INSERT INTO fruit VALUES (1, 'apple')");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_false(run.outcome.is_in_doubt);
  close_world(&world, conn);
}

static void a_deadline_ends_the_wait_and_the_backend(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  int64_t start_us = pg_world_now(&world);
  pg_world_send(conn, "SELECT pg_sleep(60)");
  pg_world_finish(&world, conn, start_us + 100000, &run);
  assert_in_range(pg_world_now(&world) - start_us, 100000, 1000000);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_int_equal(run.outcome.err.code, ERR_TIMEOUT);
  assert_true(run.outcome.is_in_doubt);
  pg_release(conn);
  pg_world_wait(&world, is_backend_gone, &world);
  assert_in_range(pg_world_now(&world) - start_us, 0, 5000000);
  pg_world_deinit(&world);
}

static void statement_timeout_and_grace_bound_a_pipeline_without_deadline(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.statement_timeout_us = 50000;
  world.config.query_grace_us = 1000000; /* in which a busy machine gets the answer across */
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  struct pg_world_run run;
  pg_world_send(conn, "SELECT pg_sleep(60)");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "57014");
  assert_int_equal(run.outcome.err.code, ERR_TIMEOUT);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  int pid = backend_pid(&world, conn);
  kill(pid, SIGSTOP);
  pg_world_send(conn, "SELECT 1");
  int64_t start_us = pg_world_now(&world);
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_in_range(pg_world_now(&world) - start_us, 1050000, 5000000);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_int_equal(run.outcome.err.code, ERR_TIMEOUT);
  kill(pid, SIGCONT);
  close_world(&world, conn);
}

static void what_was_not_sent_whole_is_not_in_doubt(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run = {0};
  size_t len = 32U << 20;
  char *text = malloc(len);
  assert_non_null(text);
  memset(text, 'x', len);
  int pid = backend_pid(&world, conn);
  kill(pid, SIGSTOP);
  send_text(conn, &put_fruit, text, len);
  pg_world_finish(&world, conn, pg_world_now(&world) + 200000, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_false(run.outcome.is_in_doubt);
  kill(pid, SIGCONT);
  free(text);
  close_world(&world, conn);
}

static void a_released_pipeline_says_nothing_more(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run = {0};
  pg_world_send(conn, "SELECT 1::int8");
  pg_run(conn, CLOCK_NEVER, &pg_world_run_cb, &run);
  pg_release(conn);
  pg_world_wait(&world, is_backend_gone, &world);
  pg_world_deinit(&world);
  assert_false(run.is_done);
}

/* ---- much data ---- */

static void large_parameters_pass(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  static const struct pg_statement len = {
      .sql = "SELECT length($1)::int8", .param_count = 1, .param_types = text_types};
  size_t size = 4U << 20;
  char *text = malloc(size);
  assert_non_null(text);
  memset(text, 'x', size);
  for (int i = 0; i < 4; i++)
    send_text(conn, &len, text, size);
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.result_count, 4);
  assert_int_equal(run.value, size);
  free(text);
  close_world(&world, conn);
}

/* Each side has more to send than the sockets hold: whoever doesn't read while it writes hangs. A
 * Unix socket's buffers are small; TCP's may grow to tens of megabytes. */
static void both_sides_may_send_much_at_once(void **state) {
  struct pg_world world;
  const struct pg_server *server = *state;
  pg_world_init(&world, server, __func__);
  world.config.host = server->dir;
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  struct pg_world_run run;
  static const struct pg_statement echo = {
      .name = "echo", .sql = "SELECT $1, $1", .param_count = 1, .param_types = text_types};
  size_t size = 2U << 20;
  char *text = malloc(size);
  assert_non_null(text);
  memset(text, 'x', size);
  for (int i = 0; i < 16; i++)
    send_text(conn, &echo, text, size);
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.result_count, 16);
  free(text);
  close_world(&world, conn);
}

static void large_results_pass(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_send(conn, "SELECT g::int8, repeat('x', 100) FROM generate_series(1, 100000) g");
  pg_world_send(conn, "SELECT 5::int8");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.rows, 100001);
  assert_int_equal(run.value, 5);
  close_world(&world, conn);
}

/* ---- one after the other ---- */

struct chain {
  struct pg_lease *conn;
  int left;
  bool is_inside_run;
};

static void on_chain_done(void *arg, const struct pg_outcome *outcome) {
  static const struct pg_pipeline_cb cb = {.on_done = on_chain_done};
  struct chain *chain = arg;
  assert_false(chain->is_inside_run);
  assert_int_equal(outcome->kind, PG_OK);
  if (chain->left-- == 0)
    return;
  pg_world_send(chain->conn, "SELECT 1");
  chain->is_inside_run = true;
  pg_run(chain->conn, CLOCK_NEVER, &cb, chain);
  chain->is_inside_run = false;
}

static bool is_chain_done(void *arg) {
  return ((struct chain *)arg)->left < 0;
}

static void a_pipeline_may_begin_where_another_ends(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct chain chain = {.conn = conn, .left = 50};
  on_chain_done(&chain, &(struct pg_outcome){.kind = PG_OK});
  pg_world_wait(&world, is_chain_done, &chain);
  close_world(&world, conn);
}

/* ---- scripts ---- */

static void a_script_runs_its_statements_as_one_transaction(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_script(&world, conn,
                  "INSERT INTO fruit VALUES (1, 'a'); INSERT INTO fruit VALUES (2, 'b');"
                  "CREATE TABLE made (id int8); SELECT * FROM fruit",
                  &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.result_count, 4);
  assert_int_equal(run.rows, 2);
  assert_int_equal(fruits(&world), 2);
  pg_world_script(&world, conn,
                  "INSERT INTO fruit VALUES (3, 'c'); INSERT INTO fruit VALUES (1, 'd'); SELECT 1",
                  &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_int_equal(run.outcome.statement, 1);
  assert_string_equal(run.outcome.sqlstate, "23505");
  assert_int_equal(fruits(&world), 2);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  close_world(&world, conn);
}

static void a_script_that_fails_in_its_own_transaction_leaves_the_lease_usable(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run;
  pg_world_script(&world, conn, "BEGIN; INSERT INTO fruit VALUES (1, 'a'); SELECT 1/0; COMMIT",
                  &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "22012");
  assert_int_equal(fruits(&world), 0);
  pg_world_script(&world, conn, "BEGIN; INSERT INTO fruit VALUES (1, 'a')", &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_int_equal(run.outcome.err.code, ERR_INTERNAL);
  assert_int_equal(fruits(&world), 0);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  close_world(&world, conn);
}

static void a_script_has_its_deadline(void **state) {
  struct pg_world world;
  struct pg_lease *conn = open_world(&world, state, __func__);
  struct pg_world_run run = {0};
  pg_run_script(conn, "SELECT pg_sleep(60)", pg_world_now(&world) + 100000, &pg_world_run_cb, &run);
  pg_world_wait(&world, is_run_done, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_int_equal(run.outcome.err.code, ERR_TIMEOUT);
  close_world(&world, conn);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(results_come_in_order_and_binary),
      cmocka_unit_test(an_empty_pipeline_ends_well),
      cmocka_unit_test(a_pipeline_commits_all_its_statements),
      cmocka_unit_test(a_refused_statement_undoes_those_before_it),
      cmocka_unit_test(an_error_at_commit_is_a_refusal),
      cmocka_unit_test(a_transaction_left_open_is_never_reported_as_committed),
      cmocka_unit_test(a_copy_ends_the_connection),
      cmocka_unit_test(a_named_statement_is_prepared_once),
      cmocka_unit_test(a_statement_that_failed_to_prepare_is_prepared_again),
      cmocka_unit_test(a_statement_behind_a_refused_one_is_prepared_again),
      cmocka_unit_test(a_stale_plan_is_made_anew),
      cmocka_unit_test(a_statement_that_vanished_is_prepared_again),
      cmocka_unit_test(a_backend_killed_amid_a_pipeline_leaves_it_in_doubt),
      cmocka_unit_test(a_dead_lease_loses_the_next_pipeline_without_doubt),
      cmocka_unit_test(a_deadline_ends_the_wait_and_the_backend),
      cmocka_unit_test(statement_timeout_and_grace_bound_a_pipeline_without_deadline),
      cmocka_unit_test(what_was_not_sent_whole_is_not_in_doubt),
      cmocka_unit_test(a_released_pipeline_says_nothing_more),
      cmocka_unit_test(large_parameters_pass),
      cmocka_unit_test(both_sides_may_send_much_at_once),
      cmocka_unit_test(large_results_pass),
      cmocka_unit_test(a_pipeline_may_begin_where_another_ends),
      cmocka_unit_test(a_script_runs_its_statements_as_one_transaction),
      cmocka_unit_test(a_script_that_fails_in_its_own_transaction_leaves_the_lease_usable),
      cmocka_unit_test(a_script_has_its_deadline),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, start_server, remove_server);
}
