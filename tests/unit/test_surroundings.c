/*
 * What stands on the tables, against a real PostgreSQL: what is found, how grave it is, what the
 * text says, and whether a writer would see it by the fingerprint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/surroundings.h"
#include "support/pg_fixture.h"

struct reading {
  bool is_done;
  struct pg_lease *conn;
  struct pg_outcome outcome;
  struct surroundings found;
  int rc;
};

static void on_lease(void *arg, struct pg_lease *conn, const struct error *err) {
  struct reading *reading = arg;
  assert_null(err);
  reading->conn = conn;
  reading->is_done = true;
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct reading *reading = arg;
  struct error err;
  (void)statement;
  if (PQresultStatus(result) == PGRES_TUPLES_OK)
    reading->rc = surroundings_read(result, &reading->found, &err);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct reading *reading = arg;
  reading->outcome = *outcome;
  reading->is_done = true;
}

/* `before` NULL, or a statement of the same transaction. */
static struct reading read_after(struct pg_fixture *f, const char *before) {
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  struct reading reading = {.rc = 1};
  pg_acquire(f->pool, pg_fixture_deadline(f), "test", on_lease, &reading);
  pg_fixture_run_until(f, &reading.is_done);
  reading.is_done = false;
  struct pg_statement first = {.sql = before};
  if (before)
    pg_send(reading.conn, &first, NULL);
  surroundings_send(reading.conn);
  pg_run(reading.conn, pg_fixture_deadline(f), &cb, &reading);
  pg_fixture_run_until(f, &reading.is_done);
  pg_release(reading.conn);
  return reading;
}

static struct surroundings look(struct pg_fixture *f) {
  struct reading reading = read_after(f, NULL);
  assert_string_equal(reading.outcome.err.text, "");
  assert_int_equal(reading.rc, 0);
  return reading.found;
}

/* As a writer has it: prepared before anything was done to the tables. */
static void prepare_fingerprint(struct pg_fixture *f) {
  char sql[16384];
  (void)snprintf(sql, sizeof(sql), "PREPARE fingerprint AS SELECT %s",
                 surroundings_fingerprint_sql());
  pg_observer_run(f->observer, "DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan");
  pg_observer_run(f->observer, sql);
}

static int64_t fingerprint(struct pg_fixture *f) {
  return pg_observer_int(f->observer, "EXECUTE fingerprint");
}

/* By a session of its own, so that the prepared statement learns of it as a writer's would. */
static void do_elsewhere(struct pg_fixture *f, const char *sql) {
  PGconn *other = pg_observer_open(&f->server);
  pg_observer_run(other, sql);
  PQfinish(other);
}

#define PARTITION(name, year)                                                                      \
  "CREATE TABLE " name " PARTITION OF audit_events FOR VALUES FROM ('" year "-01-01') TO ('" year  \
  "-02-01');"

static int setup(void **state) {
  pg_fixture_setup(state);
  struct pg_fixture *f = *state;
  pg_fixture_migrate(f);
  pg_observer_run(f->observer, PARTITION("audit_events_2030_01", "2030"));
  pg_observer_run(f->observer,
                  "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
                  "'BEGIN RETURN NULL; END'");
  prepare_fingerprint(f);
  return 0;
}

/* ---- one finding at a time ---- */

enum severity { NOTED, WATCHED, BLOCKING };

struct sample {
  const char *sql;
  const char *undo;
  const char *text;
  enum severity severity;
  bool is_seen_by_writers;
};

#define TRIGGER(rest)       "CREATE TRIGGER t " rest " EXECUTE FUNCTION swallow()"
#define DROP_TRIGGER(table) "DROP TRIGGER t ON " table

static const struct sample triggers[] = {
    {TRIGGER("BEFORE INSERT ON audit_events FOR EACH ROW"), DROP_TRIGGER("audit_events"),
     "trigger t on audit_events (enabled, before insert, for each row): drop or disable it",
     WATCHED, true},
    {TRIGGER("AFTER INSERT ON audit_events FOR EACH STATEMENT"), DROP_TRIGGER("audit_events"),
     "(enabled, after insert, for each statement)", WATCHED, true},
    {TRIGGER("BEFORE INSERT OR UPDATE ON audit_events_2030_01 FOR EACH ROW"),
     DROP_TRIGGER("audit_events_2030_01"),
     "trigger t on audit_events_2030_01 (enabled, before insert or update, for each row)", WATCHED,
     true},
    {"CREATE CONSTRAINT TRIGGER t AFTER INSERT ON audit_events_2030_01 DEFERRABLE INITIALLY "
     "DEFERRED FOR EACH ROW EXECUTE FUNCTION swallow()",
     DROP_TRIGGER("audit_events_2030_01"),
     "constraint trigger t on audit_events_2030_01 (enabled, after insert, for each row, deferred)",
     WATCHED, true},
    {TRIGGER("BEFORE UPDATE ON ledgers FOR EACH ROW"), DROP_TRIGGER("ledgers"),
     "trigger t on ledgers", WATCHED, true},
    {TRIGGER("BEFORE INSERT ON ledger_batches FOR EACH ROW"), DROP_TRIGGER("ledger_batches"),
     "trigger t on ledger_batches", WATCHED, true},
    {TRIGGER("BEFORE INSERT ON ledger_nodes FOR EACH ROW"), DROP_TRIGGER("ledger_nodes"),
     "trigger t on ledger_nodes", WATCHED, true},
    {TRIGGER("BEFORE INSERT ON schema_migrations FOR EACH ROW"), DROP_TRIGGER("schema_migrations"),
     "trigger t on schema_migrations", WATCHED, false},
    {TRIGGER("BEFORE DELETE ON ledgers FOR EACH ROW"), DROP_TRIGGER("ledgers"),
     "trigger t on ledgers (enabled, before delete, for each row)", NOTED, true},
    {TRIGGER("BEFORE TRUNCATE ON audit_events_2030_01 FOR EACH STATEMENT"),
     DROP_TRIGGER("audit_events_2030_01"), "(enabled, before truncate, for each statement)", NOTED,
     true},
    {TRIGGER("BEFORE INSERT ON ledgers FOR EACH ROW") "; ALTER TABLE ledgers DISABLE TRIGGER t",
     DROP_TRIGGER("ledgers"), "trigger t on ledgers (disabled, ", NOTED, true},
    {TRIGGER(
         "BEFORE INSERT ON ledgers FOR EACH ROW") "; ALTER TABLE ledgers ENABLE REPLICA TRIGGER "
                                                  "t",
     DROP_TRIGGER("ledgers"), "(enabled for replicas, ", WATCHED, true},
    {TRIGGER("BEFORE INSERT ON audit_events FOR EACH ROW") "; ALTER TABLE audit_events DISABLE "
                                                           "TRIGGER t",
     DROP_TRIGGER("audit_events"), "trigger t on audit_events (disabled, ", WATCHED, true},
    {"CREATE TRIGGER \"Odd; name\" BEFORE INSERT ON ledgers FOR EACH ROW EXECUTE FUNCTION "
     "swallow()",
     "DROP TRIGGER \"Odd; name\" ON ledgers", "trigger \"Odd; name\" on ledgers", WATCHED, true},
};

static const struct sample rules[] = {
    {"CREATE RULE r AS ON INSERT TO audit_events DO INSTEAD NOTHING", "DROP RULE r ON audit_events",
     "rule r on audit_events (enabled, on insert): DROP RULE r ON audit_events", BLOCKING, true},
    {"CREATE RULE r AS ON INSERT TO ledger_batches DO ALSO NOTHING",
     "DROP RULE r ON ledger_batches", "rule r on ledger_batches (enabled, on insert)", BLOCKING,
     true},
    {"CREATE RULE r AS ON UPDATE TO ledgers DO INSTEAD NOTHING", "DROP RULE r ON ledgers",
     "rule r on ledgers (enabled, on update)", BLOCKING, true},
    {"CREATE RULE r AS ON DELETE TO audit_events DO INSTEAD NOTHING", "DROP RULE r ON audit_events",
     "rule r on audit_events (enabled, on delete)", NOTED, true},
    {"CREATE RULE r AS ON INSERT TO ledger_nodes DO INSTEAD NOTHING; ALTER TABLE ledger_nodes "
     "DISABLE RULE r",
     "DROP RULE r ON ledger_nodes", "rule r on ledger_nodes (disabled, on insert)", NOTED, true},
    {"CREATE RULE r AS ON INSERT TO audit_events_2030_01 DO INSTEAD NOTHING",
     "DROP RULE r ON audit_events_2030_01", "rule r on audit_events_2030_01", NOTED, false},
};

static const struct sample columns[] = {
    {"ALTER TABLE audit_events ADD note text", "ALTER TABLE audit_events DROP note",
     "column audit_events.note isn't ours", NOTED, true},
    {"ALTER TABLE ledgers ADD note text NOT NULL DEFAULT ''", "ALTER TABLE ledgers DROP note",
     "column ledgers.note isn't ours", NOTED, true},
    {"ALTER TABLE ledgers ADD note int GENERATED ALWAYS AS IDENTITY",
     "ALTER TABLE ledgers DROP note", "column ledgers.note isn't ours", NOTED, true},
    {"ALTER TABLE ledger_batches ADD note text NOT NULL", "ALTER TABLE ledger_batches DROP note",
     "column ledger_batches.note isn't ours, NOT NULL and without a default, so that each write is "
     "refused: ALTER TABLE ledger_batches ALTER COLUMN note DROP NOT NULL",
     BLOCKING, true},
    {"ALTER TABLE audit_events ALTER actor_id TYPE varchar(255)",
     "ALTER TABLE audit_events ALTER actor_id TYPE text",
     "column audit_events.actor_id is character varying(255), where we made it text: ALTER TABLE "
     "audit_events ALTER COLUMN actor_id TYPE text",
     WATCHED, true},
    {"ALTER TABLE audit_events ALTER cluster TYPE char(40)",
     "ALTER TABLE audit_events ALTER cluster TYPE text",
     "column audit_events.cluster is character(40), where we made it text", BLOCKING, true},
    {"ALTER TABLE audit_events ALTER event_data TYPE jsonb",
     "ALTER TABLE audit_events ALTER event_data TYPE json",
     "column audit_events.event_data is jsonb", BLOCKING, true},
    {"ALTER TABLE audit_events ALTER received_at TYPE timestamptz(0)",
     "ALTER TABLE audit_events ALTER received_at TYPE timestamptz",
     "column audit_events.received_at is timestamp(0) with time zone", BLOCKING, true},
    {"ALTER TABLE ledger_batches ALTER committed_at TYPE timestamptz(3)",
     "ALTER TABLE ledger_batches ALTER committed_at TYPE timestamptz",
     "column ledger_batches.committed_at is timestamp(3) with time zone", BLOCKING, true},
    {"ALTER TABLE ledgers ALTER tree_size TYPE numeric",
     "ALTER TABLE ledgers ALTER tree_size TYPE int8",
     "column ledgers.tree_size is numeric, where we made it bigint", BLOCKING, true},
    {"CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); ALTER TABLE audit_events ALTER "
     "namespace TYPE short",
     "ALTER TABLE audit_events ALTER namespace TYPE text; DROP DOMAIN short",
     "column audit_events.namespace is short", BLOCKING, true},
    {"ALTER TABLE ledger_batches ALTER event_count ADD GENERATED ALWAYS AS IDENTITY",
     "ALTER TABLE ledger_batches ALTER event_count DROP IDENTITY",
     "column ledger_batches.event_count is GENERATED ALWAYS AS IDENTITY", BLOCKING, false},
    {"CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
     "ALTER TABLE audit_events ALTER trace_id TYPE text COLLATE loose",
     "ALTER TABLE audit_events ALTER trace_id TYPE text COLLATE \"default\"; DROP COLLATION loose",
     "column audit_events.trace_id has the collation loose", NOTED, false},
};

static const struct sample kinds[] = {
    {"ALTER TABLE ledger_nodes SET UNLOGGED", "ALTER TABLE ledger_nodes SET LOGGED",
     "ledger_nodes is UNLOGGED, so that a crash empties it: ALTER TABLE ledger_nodes SET LOGGED",
     BLOCKING, true},
    {"ALTER TABLE audit_events_2030_01 SET UNLOGGED", "ALTER TABLE audit_events_2030_01 SET LOGGED",
     "audit_events_2030_01 is UNLOGGED", BLOCKING, false},
    {"CREATE UNLOGGED TABLE sub PARTITION OF audit_events FOR VALUES FROM ('2031-01-01') TO "
     "('2031-02-01')",
     "DROP TABLE sub", "sub is UNLOGGED", BLOCKING, false},
    {"CREATE TABLE half PARTITION OF audit_events FOR VALUES FROM ('2032-01-01') TO ('2033-01-01') "
     "PARTITION BY RANGE (event_time); CREATE UNLOGGED TABLE quarter PARTITION OF half FOR VALUES "
     "FROM ('2032-01-01') TO ('2032-02-01')",
     "DROP TABLE half", "quarter is UNLOGGED", BLOCKING, false},
    {"CREATE TABLE rest PARTITION OF audit_events DEFAULT", "DROP TABLE rest",
     "partition rest is a DEFAULT partition", NOTED, false},
    {"CREATE TABLE child () INHERITS (ledger_batches)", "DROP TABLE child",
     "child inherits from ledger_batches, so that its rows appear as ours: ALTER TABLE child NO "
     "INHERIT ledger_batches",
     BLOCKING, false},
    {"CREATE TABLE parent (ledger_id int8 NOT NULL); ALTER TABLE ledgers INHERIT parent",
     "ALTER TABLE ledgers NO INHERIT parent; DROP TABLE parent", "ledgers inherits from parent",
     NOTED, false},
    {"ALTER TABLE ledgers DROP CONSTRAINT ledgers_pkey",
     "ALTER TABLE ledgers ADD PRIMARY KEY (ledger_id)",
     "ledgers has no valid primary key (ledger_id)", BLOCKING, true},
    {"ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey",
     "ALTER TABLE audit_events ADD PRIMARY KEY (event_id, event_time)",
     "ALTER TABLE audit_events ADD PRIMARY KEY (event_id, event_time)", BLOCKING, true},
    {"ALTER TABLE ledger_batches DROP CONSTRAINT ledger_batches_pkey, ADD PRIMARY KEY (ledger_id, "
     "first_sequence, event_count)",
     "ALTER TABLE ledger_batches DROP CONSTRAINT ledger_batches_pkey, ADD PRIMARY KEY (ledger_id, "
     "first_sequence)",
     "ledger_batches has no valid primary key (ledger_id, first_sequence)", BLOCKING, true},
    {"CREATE INDEX half ON ONLY audit_events (trace_id)", "DROP INDEX half",
     "index half of audit_events isn't valid", NOTED, false},
    {"CREATE TABLE actor (id text PRIMARY KEY); ALTER TABLE audit_events ADD CONSTRAINT whose "
     "FOREIGN KEY (actor_id) REFERENCES actor ON DELETE CASCADE",
     "ALTER TABLE audit_events DROP CONSTRAINT whose; DROP TABLE actor",
     "foreign key whose of audit_events takes rows away", NOTED, false},
};

static void check_found(const struct surroundings *found, const struct sample *sample) {
  if (!strstr(found->text, sample->text))
    fail_msg("after %s: \"%s\" isn't in \"%s\"", sample->sql, sample->text, found->text);
  if (found->count < 1 || found->is_watched != (sample->severity == WATCHED) ||
      found->is_blocking != (sample->severity == BLOCKING))
    fail_msg("after %s: %d findings, watched %d, blocking %d: %s", sample->sql, found->count,
             found->is_watched, found->is_blocking, found->text);
}

static void check_sample(struct pg_fixture *f, const struct sample *sample) {
  int64_t before = fingerprint(f);
  do_elsewhere(f, sample->sql);
  struct surroundings found = look(f);
  check_found(&found, sample);
  int64_t after = fingerprint(f);
  if (after != found.fingerprint)
    fail_msg("after %s a writer's fingerprint isn't the reader's", sample->sql);
  if ((before != after) != sample->is_seen_by_writers)
    fail_msg("after %s the fingerprint is %s", sample->sql,
             before != after ? "another" : "the same");
  do_elsewhere(f, sample->undo);
  found = look(f);
  assert_string_equal(found.text, "");
  if (fingerprint(f) != before || found.fingerprint != before)
    fail_msg("after %s the fingerprint isn't what it was", sample->undo);
}

#define CHECK_SAMPLES(f, samples)                                                                  \
  for (size_t i = 0; i < sizeof(samples) / sizeof((samples)[0]); i++)                              \
  check_sample(f, &(samples)[i])

static void triggers_are_watched(void **state) {
  CHECK_SAMPLES(*state, triggers);
}

static void rules_on_what_we_write_block(void **state) {
  CHECK_SAMPLES(*state, rules);
}

static void columns_that_change_what_is_stored_block(void **state) {
  CHECK_SAMPLES(*state, columns);
}

static void tables_that_lose_rows_block(void **state) {
  CHECK_SAMPLES(*state, kinds);
}

/* ---- row security ---- */

static void row_security_blocks_whom_it_meets(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f,
               "CREATE ROLE writer; GRANT USAGE ON SCHEMA public TO writer; CREATE POLICY mine ON "
               "ledgers USING (owner IS NULL)");
  struct surroundings found = look(f);
  assert_int_equal(found.count, 1);
  assert_false(found.is_blocking);
  assert_non_null(strstr(found.text, "row security on ledgers (off; policies: mine)"));
  do_elsewhere(f, "ALTER TABLE ledgers ENABLE ROW LEVEL SECURITY");
  found = look(f);
  assert_false(found.is_blocking);
  assert_non_null(strstr(found.text, "row security on ledgers (on; policies: mine)"));
  struct reading reading = read_after(f, "SET LOCAL ROLE writer");
  assert_string_equal(reading.outcome.err.text, "");
  assert_true(reading.found.is_blocking);
  assert_non_null(strstr(reading.found.text, "it keeps rows from writer"));
  assert_non_null(strstr(reading.found.text, "ALTER ROLE writer BYPASSRLS"));
  assert_int_not_equal(reading.found.fingerprint, found.fingerprint);
  do_elsewhere(f,
               "ALTER TABLE ledgers DISABLE ROW LEVEL SECURITY; DROP POLICY mine ON ledgers;"
               "DROP OWNED BY writer; DROP ROLE writer");
  assert_int_equal(look(f).count, 0);
}

/* ---- what isn't there ---- */

static void a_view_in_a_tables_place_blocks(void **state) {
  struct pg_fixture *f = *state;
  int64_t before = fingerprint(f);
  do_elsewhere(f,
               "ALTER TABLE ledger_nodes RENAME TO kept; CREATE VIEW ledger_nodes AS TABLE kept");
  struct surroundings found = look(f);
  assert_true(found.is_blocking);
  assert_non_null(strstr(found.text, "ledger_nodes is a view, not an ordinary table"));
  assert_int_not_equal(fingerprint(f), before);
  assert_int_equal(fingerprint(f), found.fingerprint);
}

static void an_ordinary_table_in_place_of_the_partitioned_one_blocks(void **state) {
  struct pg_fixture *f = *state;
  int64_t before = fingerprint(f);
  do_elsewhere(f,
               "ALTER TABLE audit_events RENAME TO kept;"
               "CREATE TABLE audit_events (LIKE kept INCLUDING ALL)");
  struct surroundings found = look(f);
  assert_true(found.is_blocking);
  assert_non_null(strstr(found.text, "audit_events is an ordinary table, not a partitioned table"));
  assert_int_not_equal(fingerprint(f), before);
}

/* The same in everything but its rows. */
static void a_table_replaced_by_its_like_is_seen_by_writers(void **state) {
  struct pg_fixture *f = *state;
  int64_t before = fingerprint(f);
  do_elsewhere(f,
               "ALTER TABLE ledgers RENAME TO kept; ALTER INDEX ledgers_pkey RENAME TO kept_pkey;"
               "CREATE TABLE ledgers (LIKE kept INCLUDING ALL)");
  struct surroundings found = look(f);
  assert_string_equal(found.text, "");
  assert_int_not_equal(fingerprint(f), before);
  assert_int_equal(fingerprint(f), found.fingerprint);
}

static void a_foreign_table_as_partition_blocks(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f,
               "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER "
               "nowhere; CREATE TABLE kept (LIKE audit_events)");
  do_elsewhere(f,
               "ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey;"
               "CREATE FOREIGN TABLE away PARTITION OF audit_events FOR VALUES FROM "
               "('2034-01-01') TO ('2034-02-01') SERVER far");
  struct surroundings found = look(f);
  assert_true(found.is_blocking);
  assert_non_null(strstr(found.text, "partition away is a foreign table"));
  do_elsewhere(f, "DROP FOREIGN DATA WRAPPER nowhere CASCADE");
}

static void a_column_that_is_gone_is_refused_by_name(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f, "ALTER TABLE audit_events DROP principal");
  struct reading reading = read_after(f, NULL);
  assert_int_equal(reading.outcome.kind, PG_REFUSED);
  assert_string_equal(reading.outcome.sqlstate, "42703");
  assert_non_null(strstr(reading.outcome.err.text, "principal"));
}

/* ---- what changes nothing ---- */

static void assert_unchanged(struct pg_fixture *f, int64_t before, const char *after) {
  struct surroundings found = look(f);
  if (fingerprint(f) != before || found.fingerprint != before)
    fail_msg("the fingerprint is another after: %s", after);
}

static void everyday_work_changes_nothing(void **state) {
  struct pg_fixture *f = *state;
  static const char *const works[] = {
      PARTITION("audit_events_2035_01", "2035"),
      "DROP TABLE audit_events_2035_01",
      PARTITION("audit_events_2036_01", "2036") "ALTER TABLE audit_events DETACH PARTITION "
                                                "audit_events_2036_01",
      "ANALYZE",
      "VACUUM",
      "VACUUM FULL ledgers",
      "VACUUM FREEZE pg_trigger",
      "CREATE INDEX theirs ON audit_events (namespace)",
      "CREATE INDEX CONCURRENTLY theirs2 ON ledger_batches (committed_at)",
      "REINDEX TABLE CONCURRENTLY ledgers",
      "REINDEX TABLE ledgers",
      "ALTER TABLE ledgers ALTER suspect_since SET STATISTICS 500",
      "ALTER TABLE ledgers SET (autovacuum_enabled = off)",
      "COMMENT ON TABLE audit_events IS 'theirs'",
      "GRANT SELECT ON audit_events TO PUBLIC",
      "CREATE TABLE other (a int)",
      "CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION swallow()",
      "CREATE TABLE parted (a int) PARTITION BY LIST (a)",
      "CREATE TABLE part PARTITION OF parted FOR VALUES IN (1)",
      "CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION swallow()",
      "CREATE VIEW seen AS SELECT * FROM audit_events",
      "INSERT INTO ledgers (ledger_id) VALUES (1)",
      "ALTER TABLE audit_events ALTER severity SET DEFAULT 1",
  };
  int64_t before = fingerprint(f);
  for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
    do_elsewhere(f, works[i]);
    assert_unchanged(f, before, works[i]);
    assert_string_equal(look(f).text, "");
  }
}

/* Its copy of the trigger is no news. */
static void a_partition_made_under_a_trigger_changes_nothing(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f, TRIGGER("AFTER INSERT ON audit_events FOR EACH ROW"));
  int64_t before = fingerprint(f);
  int count = look(f).count;
  do_elsewhere(f, PARTITION("audit_events_2037_01", "2037"));
  assert_unchanged(f, before, "a partition");
  assert_int_equal(look(f).count, count);
  assert_int_equal(count, 1);
}

static void switching_a_trigger_off_and_on_is_seen_by_writers(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f, TRIGGER("BEFORE INSERT ON audit_events_2030_01 FOR EACH ROW"));
  int64_t enabled = fingerprint(f);
  do_elsewhere(f, "ALTER TABLE audit_events_2030_01 DISABLE TRIGGER t");
  int64_t disabled = fingerprint(f);
  assert_int_not_equal(enabled, disabled);
  do_elsewhere(f, "ALTER TABLE audit_events_2030_01 ENABLE ALWAYS TRIGGER t");
  assert_int_not_equal(fingerprint(f), disabled);
  assert_true(look(f).is_watched);
}

/* The partition alone has it switched on: told by the partition's name. */
static void a_copy_that_is_switched_on_alone_is_told(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f, TRIGGER("AFTER INSERT ON audit_events FOR EACH ROW"));
  do_elsewhere(f, "ALTER TABLE ONLY audit_events DISABLE TRIGGER t");
  struct surroundings found = look(f);
  assert_true(found.is_watched);
  assert_non_null(strstr(found.text, "trigger t on audit_events (disabled"));
  assert_non_null(strstr(found.text, "trigger t on audit_events_2030_01 (enabled"));
}

/* What stood there before counts for the transaction that has the locks. */
static void a_transaction_that_wrote_sees_what_came_before_its_lock(void **state) {
  struct pg_fixture *f = *state;
  int64_t before = fingerprint(f);
  pg_observer_run(f->observer, "BEGIN");
  assert_int_equal(fingerprint(f), before);
  do_elsewhere(f, TRIGGER("AFTER INSERT ON ledgers FOR EACH ROW"));
  pg_observer_run(f->observer, "INSERT INTO ledgers (ledger_id) VALUES (1)");
  assert_int_not_equal(fingerprint(f), before);
  pg_observer_run(f->observer, "COMMIT");
}

/* What it costs a write. */
static void a_plan_has_the_tables_part_as_a_constant(void **state) {
  struct pg_fixture *f = *state;
  PGresult *plan = PQexec(f->observer, "EXPLAIN (VERBOSE) EXECUTE fingerprint");
  assert_int_equal(PQresultStatus(plan), PGRES_TUPLES_OK);
  for (int i = 0; i < PQntuples(plan); i++)
    assert_null(strstr(PQgetvalue(plan, i, 0), "audit_surroundings"));
  assert_true(PQntuples(plan) > 0);
  PQclear(plan);
}

/* ---- many ---- */

static void what_does_not_fit_is_counted_and_the_gravest_come_first(void **state) {
  struct pg_fixture *f = *state;
  do_elsewhere(f,
               "DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE format('CREATE TRIGGER t%s BEFORE INSERT "
               "ON ledgers FOR EACH ROW EXECUTE FUNCTION swallow()', i); END LOOP; END $$");
  do_elsewhere(f, "ALTER TABLE ledger_batches SET UNLOGGED; ALTER TABLE ledgers ADD note text");
  struct surroundings found = look(f);
  assert_int_equal(found.count, 152);
  assert_true(found.is_watched);
  assert_true(found.is_blocking);
  assert_ptr_equal(strstr(found.text, "ledger_batches is UNLOGGED"), found.text);
  assert_true(strlen(found.text) < SURROUNDINGS_TEXT_SIZE);
  assert_non_null(strstr(found.text, " more"));
  assert_null(strstr(found.text, "note"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(triggers_are_watched),
      TEST(rules_on_what_we_write_block),
      TEST(columns_that_change_what_is_stored_block),
      TEST(tables_that_lose_rows_block),
      TEST(row_security_blocks_whom_it_meets),
      TEST(a_view_in_a_tables_place_blocks),
      TEST(an_ordinary_table_in_place_of_the_partitioned_one_blocks),
      TEST(a_table_replaced_by_its_like_is_seen_by_writers),
      TEST(a_foreign_table_as_partition_blocks),
      TEST(a_column_that_is_gone_is_refused_by_name),
      TEST(everyday_work_changes_nothing),
      TEST(a_partition_made_under_a_trigger_changes_nothing),
      TEST(switching_a_trigger_off_and_on_is_seen_by_writers),
      TEST(a_copy_that_is_switched_on_alone_is_told),
      TEST(a_transaction_that_wrote_sees_what_came_before_its_lock),
      TEST(a_plan_has_the_tables_part_as_a_constant),
      TEST(what_does_not_fit_is_counted_and_the_gravest_come_first),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
