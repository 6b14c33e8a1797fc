/*
 * Migrations and the schema check against a real PostgreSQL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/event.h"
#include "ledger/migrations.h"
#include "ledger/schema.h"
#include "support/pg_fixture.h"

struct answer {
  bool is_done;
  int version;
  struct error err;
};

static void on_answer(void *arg, int version, const struct error *err) {
  struct answer *answer = arg;
  assert_false(answer->is_done);
  answer->is_done = true;
  answer->version = version;
  if (err)
    answer->err = *err;
}

static struct answer migrate(struct pg_fixture *f) {
  struct answer answer = {.is_done = false};
  schema_migrate(f->pool, &f->loop, pg_fixture_deadline(f), on_answer, &answer);
  assert_false(answer.is_done);
  pg_fixture_run_until(f, &answer.is_done);
  return answer;
}

static struct answer check(struct pg_fixture *f) {
  struct answer answer = {.is_done = false};
  schema_check(f->pool, &f->loop, pg_fixture_deadline(f), on_answer, &answer);
  assert_false(answer.is_done);
  pg_fixture_run_until(f, &answer.is_done);
  return answer;
}

static void assert_refused(const struct answer *answer, const char *part_of_text) {
  assert_int_equal(answer->err.code, ERR_FAILED_PRECONDITION);
  if (!strstr(answer->err.text, part_of_text))
    fail_msg("\"%s\" isn't in \"%s\"", part_of_text, answer->err.text);
}

static void migrating_makes_the_schema_and_the_check_accepts_it(void **state) {
  struct pg_fixture *f = *state;
  struct answer answer = migrate(f);
  assert_int_equal(answer.err.code, ERR_OK);
  assert_int_equal(answer.version, schema_version());
  answer = check(f);
  assert_int_equal(answer.err.code, ERR_OK);
  assert_int_equal(answer.version, schema_version());
  assert_int_equal(pg_observer_int(f->observer, "SELECT count(*) FROM audit_events, ledgers"), 0);
}

static void migrating_twice_changes_nothing(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer, "CREATE TABLE before AS TABLE schema_migrations");
  struct answer answer = migrate(f);
  assert_int_equal(answer.err.code, ERR_OK);
  assert_int_equal(answer.version, schema_version());
  assert_int_equal(pg_observer_int(f->observer,
                                   "SELECT count(*) FROM (TABLE before INTERSECT TABLE "
                                   "schema_migrations) s"),
                   migration_count);
}

/* On connections of their own, so that the server decides who is first. */
static void many_migrations_at_once_all_succeed(void **state) {
  struct pg_fixture *f = *state;
  struct answer answers[8] = {{.is_done = false}};
  for (int i = 0; i < 8; i++)
    schema_migrate(f->pool, &f->loop, pg_fixture_deadline(f), on_answer, &answers[i]);
  for (int i = 0; i < 8; i++) {
    pg_fixture_run_until(f, &answers[i].is_done);
    assert_string_equal(answers[i].err.text, "");
    assert_int_equal(answers[i].version, schema_version());
  }
  assert_int_equal(pg_observer_int(f->observer, "SELECT count(*) FROM schema_migrations"),
                   migration_count);
}

/* The others wait for the lock, and see what it did when they get it. */
static void a_migration_waits_for_one_under_way(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer, "CREATE TABLE kept AS TABLE schema_migrations");
  pg_observer_run(f->observer, "DELETE FROM schema_migrations");
  pg_observer_run(f->observer,
                  "BEGIN; SELECT pg_advisory_xact_lock(1635083369, 1);"
                  "INSERT INTO schema_migrations TABLE kept");
  struct answer answer = {.is_done = false};
  schema_migrate(f->pool, &f->loop, pg_fixture_deadline(f), on_answer, &answer);
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING, 1);
  assert_false(answer.is_done);
  pg_observer_run(f->observer, "COMMIT");
  pg_fixture_run_until(f, &answer.is_done);
  assert_string_equal(answer.err.text, "");
  assert_int_equal(answer.version, schema_version());
}

/* To before version 2, the first one that changes a table. */
static void take_back_to_version_1(struct pg_fixture *f) {
  migrate(f);
  pg_observer_run(f->observer,
                  "ALTER TABLE audit_events DROP COLUMN principal;"
                  "DROP FUNCTION audit_surroundings, audit_surroundings_now,"
                  " audit_partition_triggers;"
                  "DELETE FROM schema_migrations WHERE version > 1");
}

/* Who reads and writes in short transactions stands behind it for a moment, and is served while
 * the reader still reads. */
static void a_migration_makes_way_for_others_while_one_reads(void **state) {
  struct pg_fixture *f = *state;
  take_back_to_version_1(f);
  pg_observer_run(f->observer, "BEGIN; SELECT count(*) FROM audit_events");
  struct answer answer = {.is_done = false};
  schema_migrate(f->pool, &f->loop, pg_fixture_deadline(f), on_answer, &answer);
  pg_fixture_wait_for(f, PG_FIXTURE_WAITING " AND relation = 'audit_events'::regclass", 1);
  PGconn *other = pg_observer_open(&f->server);
  pg_observer_run(other, "SET statement_timeout = '20s'");
  pg_observer_run(other, "SELECT count(*) FROM audit_events");
  pg_observer_run(other, "DELETE FROM audit_events");
  PQfinish(other);
  assert_false(answer.is_done);
  pg_observer_run(f->observer, "COMMIT");
  pg_fixture_run_until(f, &answer.is_done);
  assert_string_equal(answer.err.text, "");
  assert_int_equal(answer.version, schema_version());
}

static void a_migration_that_gets_no_lock_says_who_has_it(void **state) {
  struct pg_fixture *f = *state;
  take_back_to_version_1(f);
  pg_observer_run(f->observer, "BEGIN; SELECT count(*) FROM audit_events");
  struct answer answer = {.is_done = false};
  schema_migrate(f->pool, &f->loop, clock_monotonic_us(&f->clock) + CLOCK_US_PER_S, on_answer,
                 &answer);
  pg_fixture_run_until(f, &answer.is_done);
  pg_observer_run(f->observer, "COMMIT");
  char expected[100];
  (void)snprintf(expected, sizeof(expected), "process %d (observer", PQbackendPID(f->observer));
  assert_int_equal(answer.err.code, ERR_TIMEOUT);
  assert_non_null(strstr(answer.err.text, "migration 2 (principal)"));
  assert_non_null(strstr(answer.err.text, expected));
  assert_non_null(strstr(answer.err.text, "audit_events"));
  answer = migrate(f);
  assert_string_equal(answer.err.text, "");
}

static void an_empty_database_is_refused_with_the_command_that_mends_it(void **state) {
  struct pg_fixture *f = *state;
  struct answer answer = check(f);
  assert_int_equal(answer.version, 0);
  assert_refused(&answer, "run: auditstored migrate --config FILE");
}

static void an_older_schema_is_refused_with_the_command_that_mends_it(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  char sql[100];
  (void)snprintf(sql, sizeof(sql), "DELETE FROM schema_migrations WHERE version = %d",
                 schema_version());
  pg_observer_run(f->observer, sql);
  struct answer answer = check(f);
  assert_int_equal(answer.version, schema_version() - 1);
  assert_refused(&answer, "run: auditstored migrate --config FILE");
}

/* As behind a dump of the tables alone. */
static void a_function_that_is_gone_is_refused_by_name(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer, "DROP FUNCTION audit_surroundings");
  struct answer answer = check(f);
  assert_refused(&answer, "a part of the schema is gone");
  assert_non_null(strstr(answer.err.text, "audit_surroundings"));
}

static void a_newer_schema_is_refused(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer,
                  "INSERT INTO schema_migrations (version, name, checksum) "
                  "VALUES (999, 'future', '\\x00')");
  struct answer answer = check(f);
  assert_int_equal(answer.version, 999);
  assert_refused(&answer, "version 999");
  answer = migrate(f);
  assert_refused(&answer, "version 999");
}

static void a_migration_that_was_changed_is_refused(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer,
                  "UPDATE schema_migrations SET checksum = sha256('other') "
                  "WHERE version = 1");
  struct answer answer = check(f);
  assert_refused(&answer, "migration 1 (events)");
  answer = migrate(f);
  assert_refused(&answer, "checksum");
}

static void a_migration_that_fails_leaves_nothing_behind(void **state) {
  struct pg_fixture *f = *state;
  pg_observer_run(f->observer, "CREATE TABLE audit_events (a int)");
  struct answer answer = migrate(f);
  assert_int_not_equal(answer.err.code, ERR_OK);
  assert_non_null(strstr(answer.err.text, "migration 1 (events)"));
  assert_int_equal(answer.version, 0);
  assert_int_equal(pg_observer_int(f->observer, "SELECT count(*) FROM schema_migrations"), 0);
  assert_int_equal(pg_observer_int(f->observer,
                                   "SELECT count(*) FROM pg_class "
                                   "WHERE relname = 'ledgers'"),
                   0);
}

static void a_check_ends_at_its_deadline(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer, "BEGIN; LOCK TABLE schema_migrations");
  struct answer answer = {.is_done = false};
  schema_check(f->pool, &f->loop, clock_monotonic_us(&f->clock) + 50000, on_answer, &answer);
  pg_fixture_run_until(f, &answer.is_done);
  pg_observer_run(f->observer, "ROLLBACK");
  assert_int_equal(answer.err.code, ERR_TIMEOUT);
}

static void every_text_field_has_its_column(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    char sql[300];
    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM pg_attribute WHERE attrelid = 'audit_events'::regclass "
                   "AND attname = '%s' AND attnotnull = %s AND atttypid = '%s'::regtype",
                   event_text_fields[i].column, event_text_fields[i].is_required ? "true" : "false",
                   i == EVENT_TEXT_EVENT_DATA ? "json" : "text");
    if (pg_observer_int(f->observer, sql) != 1)
      fail_msg("column %s", event_text_fields[i].column);
  }
}

static void an_update_of_a_ledger_stays_in_its_page(void **state) {
  struct pg_fixture *f = *state;
  migrate(f);
  pg_observer_run(f->observer, "INSERT INTO ledgers (ledger_id) SELECT generate_series(1, 1000)");
  for (int i = 0; i < 3; i++)
    pg_observer_run(f->observer, "UPDATE ledgers SET tree_size = tree_size + 1");
  pg_observer_run(f->observer, "SELECT pg_stat_force_next_flush()");
  assert_int_equal(pg_observer_int(f->observer,
                                   "SELECT n_tup_hot_upd FROM pg_stat_user_tables "
                                   "WHERE relname = 'ledgers'"),
                   3000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pg_fixture_setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(migrating_makes_the_schema_and_the_check_accepts_it),
      TEST(migrating_twice_changes_nothing),
      TEST(many_migrations_at_once_all_succeed),
      TEST(a_migration_waits_for_one_under_way),
      TEST(a_migration_makes_way_for_others_while_one_reads),
      TEST(a_migration_that_gets_no_lock_says_who_has_it),
      TEST(an_empty_database_is_refused_with_the_command_that_mends_it),
      TEST(an_older_schema_is_refused_with_the_command_that_mends_it),
      TEST(a_function_that_is_gone_is_refused_by_name),
      TEST(a_newer_schema_is_refused),
      TEST(a_migration_that_was_changed_is_refused),
      TEST(a_migration_that_fails_leaves_nothing_behind),
      TEST(a_check_ends_at_its_deadline),
      TEST(every_text_field_has_its_column),
      TEST(an_update_of_a_ledger_stays_in_its_page),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
