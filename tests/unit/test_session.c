#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/pg_request.h"
#include "support/pg_world.h"

/* ---- what others set ---- */

/* Tables named as the store's: how a session finds the schema. */
static void make_store(struct pg_world *world, const char *schema) {
  char sql[256];
  snprintf(sql, sizeof(sql),
           "CREATE SCHEMA IF NOT EXISTS %s; CREATE TABLE %s.ledger_batches (id int8)", schema,
           schema);
  pg_observer_run(world->observer, sql);
}

static void open_world(struct pg_world *world, void **state, const char *name) {
  pg_world_init(world, *state, name);
  pg_observer_run(world->observer, "SET client_min_messages = error");
  pg_observer_run(world->observer, "CREATE TABLE IF NOT EXISTS kept (id int8)");
}

static void close_world(struct pg_world *world) {
  /* First of all the standby that commits wait for. */
  static const char *const undo[] = {
      "ALTER SYSTEM RESET ALL",
      "SELECT pg_reload_conf()",
      "ALTER ROLE auditstore RESET ALL",
      "ALTER DATABASE auditstore RESET ALL",
      "DROP SCHEMA IF EXISTS away, \"it's \\ odd\", closed CASCADE",
      "DROP TABLE IF EXISTS public.ledger_batches, public.guarded",
  };
  for (size_t i = 0; i < sizeof(undo) / sizeof(undo[0]); i++)
    pg_observer_run(world->observer, undo[i]);
  if (pg_observer_int(world->observer, "SELECT count(*) FROM pg_roles WHERE rolname = 'guest'") > 0)
    pg_observer_run(world->observer, "DROP OWNED BY guest; DROP ROLE guest");
  pg_world_deinit(world);
}

static void check_setting(struct pg_world *world, struct pg_lease *conn, const char *name,
                          const char *value) {
  char sql[256];
  snprintf(sql, sizeof(sql), "SELECT (current_setting('%s') = $q$%s$q$)::int::int8", name, value);
  if (pg_world_int(world, conn, sql) != 1)
    fail_msg("%s isn't %s", name, value);
}

struct wish {
  const char *name;
  const char *set;
  const char *holds;
};

static const struct wish wishes[] = {
    {"standard_conforming_strings", "off", "on"},
    {"client_min_messages", "error", "warning"},
    {"DateStyle", "'SQL, DMY'", "ISO, MDY"},
    {"IntervalStyle", "sql_standard", "postgres"},
    {"bytea_output", "escape", "hex"},
    {"TimeZone", "'Pacific/Chatham'", "UTC"},
    {"client_encoding", "LATIN1", "UTF8"},
    {"default_transaction_isolation", "serializable", "read committed"},
    {"default_transaction_deferrable", "on", "off"},
    {"exit_on_error", "on", "off"},
    {"session_replication_role", "replica", "origin"},
    {"zero_damaged_pages", "on", "off"},
    {"ignore_checksum_failure", "on", "off"},
    {"synchronous_commit", "off", "on"},
    {"statement_timeout", "'1ms'", "30s"},
    {"lock_timeout", "'1ms'", "10s"},
    {"idle_in_transaction_session_timeout", "'1ms'", "1min"},
    {"client_connection_check_interval", "'2s'", "1s"},
    {"idle_session_timeout", "'1ms'", "0"},
};

/* `whose` is "ROLE auditstore", for one. */
static void check_overruled(void **state, const char *whose, const char *name) {
  struct pg_world world;
  open_world(&world, state, name);
  for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
    char sql[256];
    snprintf(sql, sizeof(sql), "ALTER %s SET %s = %s", whose, wishes[i].name, wishes[i].set);
    pg_observer_run(world.observer, sql);
  }
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++)
    check_setting(&world, conn, wishes[i].name, wishes[i].holds);
  pg_release(conn);
  close_world(&world);
}

static void what_a_role_sets_does_not_reach_our_sessions(void **state) {
  check_overruled(state, "ROLE auditstore", __func__);
}

static void what_a_database_sets_does_not_either(void **state) {
  check_overruled(state, "DATABASE auditstore", __func__);
}

static void alter_system(struct pg_world *world, const char *assignment) {
  char sql[128];
  snprintf(sql, sizeof(sql), "ALTER SYSTEM SET %s", assignment);
  pg_observer_run(world->observer, sql);
  pg_observer_run(world->observer, "SELECT pg_reload_conf()");
}

static bool has_sighup_come(void *arg) {
  struct pg_world *world = arg;
  return pg_observer_int(world->observer,
                         "SELECT (current_setting('log_statement') = 'ddl')::int") == 1;
}

static void a_server_reloaded_with_other_settings_changes_no_open_session(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  alter_system(&world, "synchronous_commit = off");
  alter_system(&world, "statement_timeout = '1h'");
  alter_system(&world, "standard_conforming_strings = off");
  alter_system(&world, "search_path = 'nowhere'");
  alter_system(&world, "log_statement = 'ddl'");
  pg_world_wait(&world, has_sighup_come, &world);
  check_setting(&world, conn, "log_statement", "ddl");
  check_setting(&world, conn, "synchronous_commit", "on");
  check_setting(&world, conn, "statement_timeout", "30s");
  check_setting(&world, conn, "standard_conforming_strings", "on");
  check_setting(&world, conn, "search_path", "\"$user\", public, pg_temp");
  pg_release(conn);
  close_world(&world);
}

static void a_weaker_or_stronger_commit_that_waits_is_kept_and_pinned(void **state) {
  static const char *const kinds[] = {"local", "remote_write", "remote_apply"};
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    struct pg_world world;
    char sql[128];
    open_world(&world, state, __func__);
    snprintf(sql, sizeof(sql), "ALTER ROLE auditstore SET synchronous_commit = %s", kinds[i]);
    pg_observer_run(world.observer, sql);
    pg_world_open(&world);
    struct pg_lease *conn = pg_world_acquire(&world);
    check_setting(&world, conn, "synchronous_commit", kinds[i]);
    assert_int_equal(pg_world_int(&world, conn,
                                  "SELECT count(*) FROM pg_settings WHERE name = "
                                  "'synchronous_commit' AND source = 'session'"),
                     1);
    pg_release(conn);
    close_world(&world);
  }
}

static void the_statistics_say_what_was_read_back(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  pg_observer_run(world.observer, "ALTER ROLE auditstore SET lock_timeout = '7s'");
  world.config.lock_timeout_us = 90 * 1000000LL;
  pg_world_open(&world);
  assert_string_equal(pg_world_stats(&world).session.settings, "");
  pg_release(pg_world_acquire(&world));
  struct pg_pool_stats stats = pg_world_stats(&world);
  assert_false(stats.session.is_pooled);
  assert_non_null(strstr(stats.session.settings, "lock_timeout 90s; "));
  assert_non_null(strstr(stats.session.settings, "fsync on; "));
  close_world(&world);
}

/* ---- policies ---- */

static void make_policy(struct pg_world *world) {
  pg_observer_run(world->observer,
                  "CREATE ROLE guest LOGIN; CREATE TABLE guarded (id int8); "
                  "INSERT INTO guarded VALUES (1); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; "
                  "GRANT SELECT ON guarded TO guest; "
                  "CREATE POLICY hiding ON guarded FOR SELECT USING (false)");
  world->config.user = "guest";
}

static void a_policy_makes_an_error_and_hides_nothing(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  make_policy(&world);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_world_send(conn, "SELECT count(*) FROM guarded");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "42501");
  pg_release(conn);
  close_world(&world);
}

static void a_role_that_is_meant_to_see_less_does(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  make_policy(&world);
  pg_observer_run(world.observer, "ALTER ROLE guest SET row_security = on");
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  assert_int_equal(pg_world_int(&world, conn, "SELECT count(*) FROM guarded"), 0);
  struct pg_pool_stats stats = pg_world_stats(&world);
  assert_non_null(strstr(stats.session.settings, "row_security on; "));
  pg_release(conn);
  close_world(&world);
}

/* ---- the schema ---- */

/* What a session's path is. Closes the world. */
static void check_path(struct pg_world *world, const char *path) {
  pg_world_open(world);
  struct pg_lease *conn = pg_world_acquire(world);
  check_setting(world, conn, "search_path", path);
  pg_release(conn);
  close_world(world);
}

/* The same, of a role that was given this setting. */
static void check_path_given(struct pg_world *world, const char *setting, const char *path) {
  char sql[256];
  snprintf(sql, sizeof(sql), "ALTER ROLE auditstore SET %s", setting);
  pg_observer_run(world->observer, sql);
  check_path(world, path);
}

static void the_store_is_found_wherever_the_search_path_leads(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  make_store(&world, "away");
  check_path_given(&world, "search_path = nowhere, public", "away, pg_temp");
}

static void a_schema_with_an_odd_name_is_found_too(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  make_store(&world, "\"it's \\ odd\"");
  check_path_given(&world, "standard_conforming_strings = off", "\"it's \\ odd\", pg_temp");
}

static void of_several_stores_the_first_in_the_search_path_is_meant(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  make_store(&world, "public");
  make_store(&world, "away");
  check_path_given(&world, "search_path = nowhere, away, public", "away, pg_temp");
}

static void several_stores_of_which_none_is_meant_are_refused(void **state) {
  struct pg_world world;
  struct pg_request request;
  int answered = 0;
  open_world(&world, state, __func__);
  make_store(&world, "public");
  make_store(&world, "away");
  pg_observer_run(world.observer, "ALTER ROLE auditstore SET search_path = nowhere");
  world.config.fail_fast_after_us = 100000;
  pg_world_open(&world);
  pg_request_ask(&world, &request, &answered, CLOCK_NEVER);
  pg_request_wait(&world, &request);
  assert_int_equal(request.err.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(request.err.text, "(away, public)"));
  assert_non_null(strstr(request.err.text, "ALTER ROLE auditstore SET search_path"));
  assert_int_equal(pg_world_stats(&world).open_failures[PG_DIAL_SESSION], 1);
  close_world(&world);
}

static void without_a_store_the_path_stays_but_for_temporary_tables(void **state) {
  static const struct {
    const char *set;
    const char *holds;
  } paths[] = {
      {"'$user', public", "\"$user\", public, pg_temp"},
      {"pg_temp, public", "public, pg_temp"},
      {"public, pg_temp, pg_catalog", "public, pg_catalog, pg_temp"},
      /* Nothing could be made there: temporary tables least of all. */
      {"nowhere", "nowhere"},
      {"''", "\"\""},
  };
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    struct pg_world world;
    char setting[128];
    open_world(&world, state, __func__);
    snprintf(setting, sizeof(setting), "search_path = %s", paths[i].set);
    check_path_given(&world, setting, paths[i].holds);
  }
}

static void a_temporary_table_named_as_ours_is_no_store_and_hides_none(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_observer_run(world.observer, "CREATE TEMPORARY TABLE ledger_batches (id text)");
  make_store(&world, "public");
  pg_observer_run(world.observer, "INSERT INTO public.ledger_batches VALUES (5)");
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_world_script(&world, conn, "CREATE TEMPORARY TABLE ledger_batches (id text)", &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(pg_world_int(&world, conn, "SELECT id FROM ledger_batches"), 5);
  pg_release(conn);
  close_world(&world);
}

static void a_store_that_the_role_may_not_use_does_not_stand_in_the_way(void **state) {
  struct pg_world world;
  open_world(&world, state, __func__);
  make_store(&world, "closed");
  make_store(&world, "away");
  pg_observer_run(world.observer, "CREATE ROLE guest LOGIN");
  pg_observer_run(world.observer, "GRANT USAGE ON SCHEMA away TO guest");
  world.config.user = "guest";
  check_path(&world, "away, pg_temp");
}

/* ---- commits that the standby doesn't have ---- */

static bool is_waiting(struct pg_world *world) {
  return pg_observer_int(world->observer,
                         "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0;
}

struct commit {
  struct pg_world *world;
  struct pg_lease *conn;
  struct pg_world_run run;
  bool is_script;
};

static bool is_waiting_or_done(void *arg) {
  struct commit *commit = arg;
  return commit->run.is_done || is_waiting(commit->world);
}

static bool is_done(void *arg) {
  return ((struct commit *)arg)->run.is_done;
}

static void send_commit(struct commit *commit) {
  commit->run = (struct pg_world_run){0};
  if (commit->is_script) {
    pg_run_script(commit->conn, "INSERT INTO kept VALUES (1); SELECT 1", CLOCK_NEVER,
                  &pg_world_run_cb, &commit->run);
    return;
  }
  pg_world_send(commit->conn, "INSERT INTO kept VALUES (1)");
  pg_world_send(commit->conn, "SELECT 1::int8");
  pg_run(commit->conn, CLOCK_NEVER, &pg_world_run_cb, &commit->run);
}

/* Until the server's checkpointer has read the new settings, commits don't wait. */
static void commit_and_wait(struct commit *commit) {
  do {
    send_commit(commit);
    pg_world_wait(commit->world, is_waiting_or_done, commit);
  } while (commit->run.is_done);
}

static void end_the_wait(void **state, const char *with, bool is_script, const char *name) {
  struct pg_world world;
  char sql[128];
  open_world(&world, state, name);
  /* Then the server tells nobody of warnings. */
  pg_observer_run(world.observer, "ALTER ROLE auditstore SET client_min_messages = error");
  pg_world_open(&world);
  struct commit commit = {
      .world = &world, .conn = pg_world_acquire(&world), .is_script = is_script};
  alter_system(&world, "synchronous_standby_names = 'away'");
  commit_and_wait(&commit);
  snprintf(sql, sizeof(sql), "SELECT %s(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
           with);
  pg_observer_run(world.observer, sql);
  pg_world_wait(&world, is_done, &commit);
  assert_int_equal(commit.run.outcome.kind, PG_LOST);
  assert_true(commit.run.outcome.is_in_doubt);
  assert_int_equal(commit.run.outcome.err.code, ERR_UNAVAILABLE);
  if (strcmp(with, "pg_cancel_backend") == 0)
    assert_non_null(strstr(commit.run.outcome.err.text, "the wait for the synchronous standby"));
  pg_release(commit.conn);
  assert_int_equal(pg_world_stats(&world).closed[PG_CLOSE_UNCONFIRMED],
                   strcmp(with, "pg_cancel_backend") == 0);
  close_world(&world);
}

static void a_commit_whose_wait_for_the_standby_is_cancelled_is_in_doubt(void **state) {
  end_the_wait(state, "pg_cancel_backend", false, __func__);
}

static void so_is_a_script(void **state) {
  end_the_wait(state, "pg_cancel_backend", true, __func__);
}

static void so_is_a_commit_whose_session_is_ended_while_it_waits(void **state) {
  end_the_wait(state, "pg_terminate_backend", false, __func__);
}

static void a_warning_of_another_kind_leaves_the_commit_as_it_is(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_world_send(conn,
                "DO $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication due "
                "to user request'; END $$");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  pg_release(conn);
  close_world(&world);
}

/* ---- a pooler that isn't noticed ---- */

static void a_name_that_another_has_prepared_is_given_up_and_the_remedy_named(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  static const struct pg_statement one = {.name = "one", .sql = "SELECT 1::int8"};
  pg_world_script(&world, conn, "PREPARE one AS SELECT 2::int8", &run);
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "42P05");
  assert_int_equal(run.outcome.err.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(run.outcome.err.text, "set database.prepared_statements to off"));
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.outcome.kind, PG_OK);
  assert_int_equal(run.value, 1);
  pg_release(conn);
  close_world(&world);
}

static void another_statement_in_the_place_of_ours_is_given_up_too(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  static const struct pg_statement one = {.name = "one", .sql = "SELECT 1::int8"};
  pg_world_execute(&world, conn, &one, &run);
  pg_world_script(&world, conn, "DEALLOCATE one; PREPARE one (int8, int8) AS SELECT $1 + $2", &run);
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.outcome.kind, PG_REFUSED);
  assert_string_equal(run.outcome.sqlstate, "08P01");
  assert_int_equal(run.outcome.err.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(run.outcome.err.text, "set database.prepared_statements to off"));
  pg_world_execute(&world, conn, &one, &run);
  assert_int_equal(run.value, 1);
  pg_release(conn);
  close_world(&world);
}

/* ---- the server's last words ---- */

static void the_text_of_an_error_that_ends_the_session_is_told(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_world_send(conn, "SET exit_on_error = on");
  pg_world_send(conn, "SELECT 1/0");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_string_equal(run.outcome.sqlstate, "22012");
  assert_non_null(strstr(run.outcome.err.text, "division by zero (SQLSTATE 22012)"));
  pg_release(conn);
  close_world(&world);
}

static bool is_gone(void *arg) {
  struct pg_world *world = arg;
  return pg_observer_count(world->observer, world->config.application_name) == 0;
}

static void the_end_of_a_session_lent_and_unused_is_told_when_it_is_used(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  open_world(&world, state, __func__);
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  pg_observer_kill(world.observer, world.config.application_name);
  pg_world_wait(&world, is_gone, &world);
  pg_world_run_for(&world, 20000);
  pg_world_send(conn, "SELECT 1::int8");
  pg_world_finish(&world, conn, CLOCK_NEVER, &run);
  assert_int_equal(run.outcome.kind, PG_LOST);
  assert_false(run.outcome.is_in_doubt);
  assert_int_equal(run.outcome.err.code, ERR_UNAVAILABLE);
  assert_string_equal(run.outcome.err.text,
                      "terminating connection due to administrator command (SQLSTATE 57P01)");
  pg_release(conn);
  close_world(&world);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_a_role_sets_does_not_reach_our_sessions),
      cmocka_unit_test(what_a_database_sets_does_not_either),
      cmocka_unit_test(a_server_reloaded_with_other_settings_changes_no_open_session),
      cmocka_unit_test(a_weaker_or_stronger_commit_that_waits_is_kept_and_pinned),
      cmocka_unit_test(the_statistics_say_what_was_read_back),
      cmocka_unit_test(a_policy_makes_an_error_and_hides_nothing),
      cmocka_unit_test(a_role_that_is_meant_to_see_less_does),
      cmocka_unit_test(the_store_is_found_wherever_the_search_path_leads),
      cmocka_unit_test(a_schema_with_an_odd_name_is_found_too),
      cmocka_unit_test(of_several_stores_the_first_in_the_search_path_is_meant),
      cmocka_unit_test(several_stores_of_which_none_is_meant_are_refused),
      cmocka_unit_test(without_a_store_the_path_stays_but_for_temporary_tables),
      cmocka_unit_test(a_temporary_table_named_as_ours_is_no_store_and_hides_none),
      cmocka_unit_test(a_store_that_the_role_may_not_use_does_not_stand_in_the_way),
      cmocka_unit_test(a_commit_whose_wait_for_the_standby_is_cancelled_is_in_doubt),
      cmocka_unit_test(so_is_a_script),
      cmocka_unit_test(so_is_a_commit_whose_session_is_ended_while_it_waits),
      cmocka_unit_test(a_warning_of_another_kind_leaves_the_commit_as_it_is),
      cmocka_unit_test(a_name_that_another_has_prepared_is_given_up_and_the_remedy_named),
      cmocka_unit_test(another_statement_in_the_place_of_ours_is_given_up_too),
      cmocka_unit_test(the_text_of_an_error_that_ends_the_session_is_told),
      cmocka_unit_test(the_end_of_a_session_lent_and_unused_is_told_when_it_is_used),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, pg_server_group_setup, pg_server_group_teardown);
}
