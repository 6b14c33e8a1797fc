/*
 * Ingest on tables that somebody else has put triggers, rules and types on: what is acknowledged is
 * stored as it was sent, what isn't is told, and one bad event harms no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/ingest_fixture.h"

enum { EVENTS = 12, BAD = 7 };

/* A function `meddle` for triggers, whose body knows the row as `new`. */
static void make_function(struct fixture *f, const char *body) {
  char text[1024];
  snprintf(text, sizeof(text),
           "CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS"
           " $$ BEGIN %s END $$",
           body);
  store_sql(&f->store, text);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  store_sql(&f->store, "DROP FUNCTION IF EXISTS meddle() CASCADE");
  return ingest_teardown(state);
}

/* A request that may be stored in part, whose event BAD is one that triggers look for. */
static struct job *job_with_bad(struct fixture *f, int count) {
  struct job *job = job_new(f, count);
  job->request.is_atomic = false;
  job->events[count > BAD ? BAD : 0].text[EVENT_TEXT_RESOURCE_ID] = str_z("bad");
  return job;
}

static enum grpc_code code_of(const struct job *job, int index) {
  const struct ingest_result *r = result(job, index);
  return r->status ? grpc_status_code(r->status) : GRPC_OK;
}

/* All of the job but its event BAD are stored; that one is answered `code`, alone. */
static void assert_only_bad_failed(struct fixture *f, const struct job *job, enum grpc_code code) {
  assert_true(job->is_done);
  if (job->failure)
    fail_msg("%s", grpc_status_message(job->failure));
  for (int i = 0; i < job->request.count; i++) {
    assert_int_equal(code_of(job, i), i == BAD ? code : GRPC_OK);
    if (i != BAD)
      assert_receipt(f, job, i);
  }
  assert_int_equal(row_count(f), job->request.count - 1);
  assert_int_equal(
      store_number(&f->store, "SELECT count(*) FROM audit_events WHERE resource_id = 'bad'"), 0);
  assert_ledgers_are_dense(f);
}

/* With the trigger in place, one job, whose bad event is refused with `code`. Without it, all is
 * as it was. */
static void check_trigger(struct fixture *f, const char *body, const char *trigger,
                          enum grpc_code code) {
  submit(f, NULL, job_new(f, 1)); /* the lane has its ledger, and the statements their plans */
  wait_all(f);
  store_sql(&f->store, "TRUNCATE audit_events");
  store_sql(&f->store, "UPDATE ledgers SET tree_size = 0, edge = ''");
  store_sql(&f->store, "TRUNCATE ledger_batches");
  ledger_memory_reset(f->memory, NULL, 0);
  make_function(f, body);
  store_sql(&f->store, trigger);
  struct job *job = submit(f, NULL, job_with_bad(f, EVENTS));
  wait_all(f);
  assert_only_bad_failed(f, job, code);
  assert_int_equal(ingest_stats_of(f).foreign_objects, 1);
  store_sql(&f->store, "DROP FUNCTION meddle() CASCADE");
  struct job *after = submit(f, NULL, job_with_bad(f, EVENTS));
  wait_all(f);
  assert_stored(after);
  assert_ledgers_are_dense(f);
}

#define BEFORE_INSERT                                                                              \
  "CREATE TRIGGER t BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION meddle()"
#define AFTER_INSERT                                                                               \
  "CREATE TRIGGER t AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION meddle()"
#define AT_COMMIT                                                                                  \
  "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED"         \
  " FOR EACH ROW EXECUTE FUNCTION meddle()"
#define DELETE_IT                                                                                  \
  "DELETE FROM audit_events WHERE event_id = new.event_id AND new.resource_id = 'bad';"

static void a_row_that_a_trigger_drops_is_not_acknowledged(void **state) {
  check_trigger(*state, "IF new.resource_id = 'bad' THEN RETURN NULL; END IF; RETURN new;",
                BEFORE_INSERT, GRPC_UNAVAILABLE);
}

static void a_row_that_a_trigger_changes_is_not_acknowledged(void **state) {
  check_trigger(*state,
                "IF new.resource_id = 'bad' THEN new.actor_id = 'mallory'; END IF; RETURN new;",
                BEFORE_INSERT, GRPC_UNAVAILABLE);
}

static void a_row_whose_place_a_trigger_changes_is_not_acknowledged(void **state) {
  check_trigger(*state,
                "IF new.resource_id = 'bad' THEN new.sequence = new.sequence + 1000; END IF;"
                " RETURN new;",
                BEFORE_INSERT, GRPC_UNAVAILABLE);
}

static void a_row_that_is_deleted_again_is_not_acknowledged(void **state) {
  check_trigger(*state, DELETE_IT " RETURN NULL;", AFTER_INSERT, GRPC_UNAVAILABLE);
}

static void a_row_that_would_be_deleted_at_the_commit_is_not_acknowledged(void **state) {
  check_trigger(*state, DELETE_IT " RETURN NULL;", AT_COMMIT, GRPC_UNAVAILABLE);
}

static void a_row_that_a_trigger_refuses_is_answered_alone(void **state) {
  check_trigger(*state,
                "IF new.resource_id = 'bad' THEN RAISE EXCEPTION 'not today'; END IF; RETURN new;",
                BEFORE_INSERT, GRPC_FAILED_PRECONDITION);
}

static void so_is_one_that_it_refuses_by_a_code_of_its_own(void **state) {
  check_trigger(*state,
                "IF new.resource_id = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'ZZ042';"
                " END IF; RETURN new;",
                BEFORE_INSERT, GRPC_FAILED_PRECONDITION);
}

static void so_is_one_that_is_refused_at_the_commit(void **state) {
  check_trigger(*state,
                "IF new.resource_id = 'bad' THEN RAISE EXCEPTION 'too late'; END IF; RETURN NULL;",
                AT_COMMIT, GRPC_FAILED_PRECONDITION);
}

static void a_trigger_that_does_no_harm_does_none(void **state) {
  struct fixture *f = *state;
  make_function(f, "RETURN new;");
  store_sql(&f->store, BEFORE_INSERT);
  for (int i = 0; i < 30; i++)
    submit(f, NULL, job_new(f, 5));
  wait_all(f);
  for (int i = 0; i < 30; i++)
    assert_stored(f->jobs[i]);
  assert_int_equal(ingest_stats_of(f).batches[INGEST_BATCH_ALTERED], 0);
  assert_int_equal(ingest_stats_of(f).foreign_objects, 1);
  assert_int_equal(row_count(f), 150);
  assert_ledgers_are_dense(f);
}

/* ---- rules ---- */

/* The plan of a prepared statement that a rule has emptied stays so when the rule is gone. */
static void what_a_rule_swallowed_is_not_acknowledged_and_nothing_is_afterwards(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  for (int i = 0; i < 3; i++) {
    store_sql(&f->store, "CREATE RULE r AS ON INSERT TO audit_events DO INSTEAD NOTHING");
    struct job *one = submit(f, NULL, job_new(f, 1));
    struct job *many = submit(f, NULL, job_new(f, 4));
    wait_all(f);
    assert_failed(one, GRPC_UNAVAILABLE);
    assert_failed(many, GRPC_UNAVAILABLE);
    store_sql(&f->store, "DROP RULE r ON audit_events");
    struct job *after = submit(f, NULL, job_new(f, 1 + i));
    wait_all(f);
    assert_stored(after);
    for (int j = 0; j <= i; j++)
      assert_receipt(f, after, j);
  }
  assert_int_equal(row_count(f), 1 + 1 + 2 + 3);
  assert_ledgers_are_dense(f);
}

static void what_a_rule_diverts_is_not_acknowledged(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  store_sql(&f->store, "CREATE TABLE elsewhere (LIKE audit_events)");
  store_sql(&f->store,
            "CREATE RULE r AS ON INSERT TO audit_events DO INSTEAD INSERT INTO elsewhere"
            " SELECT new.* RETURNING elsewhere.*");
  struct job *job = submit(f, NULL, job_new(f, 3));
  wait_all(f);
  assert_failed(job, GRPC_UNAVAILABLE);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM elsewhere"), 0);
  store_sql(&f->store, "DROP RULE r ON audit_events");
  store_sql(&f->store, "DROP TABLE elsewhere");
  struct job *after = submit(f, NULL, job_new(f, 3));
  wait_all(f);
  assert_stored(after);
  assert_int_equal(row_count(f), 4);
}

/* ---- the ledger's own tables ---- */

/* No write is acknowledged while the trigger is there, and all are when it is gone. */
static void check_ledger_trigger(struct fixture *f, const char *body, const char *trigger,
                                 int count) {
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  make_function(f, body);
  store_sql(&f->store, trigger);
  struct job *job = job_new(f, count);
  job->request.deadline_us = now_us(f) + 5 * SECOND_US;
  submit(f, NULL, job);
  wait_all(f);
  assert_failed(job, GRPC_UNAVAILABLE);
  assert_int_equal(row_count(f), 1);
  store_sql(&f->store, "DROP FUNCTION meddle() CASCADE");
  struct job *after = submit(f, NULL, job_new(f, count));
  wait_all(f);
  assert_stored(after);
  assert_int_equal(row_count(f), 1 + count);
  assert_ledgers_are_dense(f);
}

static void an_advance_that_is_dropped_is_noticed(void **state) {
  check_ledger_trigger(
      *state, "IF new.tree_size > old.tree_size THEN RETURN NULL; END IF; RETURN new;",
      "CREATE TRIGGER t BEFORE UPDATE ON ledgers FOR EACH ROW EXECUTE FUNCTION meddle()", 3);
}

static void a_record_that_is_dropped_is_noticed(void **state) {
  check_ledger_trigger(
      *state, "RETURN NULL;",
      "CREATE TRIGGER t BEFORE INSERT ON ledger_batches FOR EACH ROW EXECUTE FUNCTION meddle()", 3);
}

#define CHANGE_RECORD                                                                              \
  "UPDATE ledger_batches SET committed_at = committed_at - interval '1 year'"                      \
  " WHERE first_sequence = new.first_sequence; RETURN NULL;"

static void a_record_that_is_changed_afterwards_is_noticed(void **state) {
  check_ledger_trigger(
      *state, CHANGE_RECORD,
      "CREATE TRIGGER t AFTER INSERT ON ledger_batches FOR EACH ROW EXECUTE FUNCTION meddle()", 3);
}

static void a_node_that_is_changed_is_noticed(void **state) {
  check_ledger_trigger(
      *state, "new.hash = sha256('x'); RETURN new;",
      "CREATE TRIGGER t BEFORE INSERT ON ledger_nodes FOR EACH ROW EXECUTE FUNCTION meddle()", 300);
}

static void a_node_that_is_changed_afterwards_is_noticed(void **state) {
  check_ledger_trigger(
      *state,
      "UPDATE ledger_nodes SET hash = sha256(hash) WHERE ledger_id = new.ledger_id"
      " AND level = new.level AND node_index = new.node_index; RETURN NULL;",
      "CREATE TRIGGER t AFTER INSERT ON ledger_nodes FOR EACH ROW EXECUTE FUNCTION meddle()", 300);
}

/* Committed while a write, whose statements are planned since long, waits for the table. */
static void check_made_meanwhile(struct fixture *f, const char *sql) {
  for (int i = 0; i < 20; i++) {
    submit(f, NULL, job_new(f, 1));
    wait_all(f);
  }
  store_sql(&f->store, "BEGIN");
  store_sql(&f->store, sql);
  struct job *job = job_new(f, 1);
  job->request.deadline_us = now_us(f) + 5 * SECOND_US;
  submit(f, NULL, job);
  wait_for_event(f, "relation");
  store_sql(&f->store, "COMMIT");
  wait_all(f);
  assert_failed(job, GRPC_UNAVAILABLE);
  assert_int_equal(row_count(f), 20);
}

static void a_trigger_made_while_a_write_waits_for_the_events_is_noticed(void **state) {
  struct fixture *f = *state;
  make_function(f, "DELETE FROM audit_events WHERE event_id = new.event_id; RETURN NULL;");
  check_made_meanwhile(f, AFTER_INSERT);
}

static void a_trigger_made_while_a_write_waits_for_the_records_is_noticed(void **state) {
  struct fixture *f = *state;
  make_function(f, CHANGE_RECORD);
  check_made_meanwhile(
      f, "CREATE TRIGGER t AFTER INSERT ON ledger_batches FOR EACH ROW EXECUTE FUNCTION meddle()");
}

/* Its ledger's row is in a table that isn't looked at. */
static void a_row_moved_to_a_child_while_a_write_waits_is_noticed(void **state) {
  struct fixture *f = *state;
  check_made_meanwhile(f,
                       "LOCK TABLE ledgers IN SHARE ROW EXCLUSIVE MODE;"
                       "CREATE UNLOGGED TABLE child () INHERITS (ledgers);"
                       "WITH gone AS (DELETE FROM ONLY ledgers RETURNING *)"
                       " INSERT INTO child TABLE gone");
  store_sql(&f->store, "DROP TABLE child");
}

/* A partition that is on its way out has no parent any more for who asks, and takes rows still. */
static void a_trigger_of_a_partition_that_is_being_detached_is_noticed(void **state) {
  struct fixture *f = *state;
  char sql[200];
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  make_function(f, "new.event_action = 'forged'; RETURN new;");
  PGconn *blocker = pg_observer_open(&f->store.server),
         *detacher = pg_observer_open(&f->store.server);
  pg_observer_run(blocker, "BEGIN; LOCK TABLE ledger_batches IN SHARE ROW EXCLUSIVE MODE");
  PGresult *found = store_query(&f->store, "SELECT tableoid::regclass::text FROM audit_events");
  (void)snprintf(sql, sizeof(sql),
                 "CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION meddle()",
                 PQgetvalue(found, 0, 0));
  store_sql(&f->store, sql);
  struct job *job = job_new(f, 1);
  job->request.deadline_us = now_us(f) + 5 * SECOND_US;
  submit(f, NULL, job);
  wait_for_event(f, "relation");
  (void)snprintf(sql, sizeof(sql), "ALTER TABLE audit_events DETACH PARTITION %s CONCURRENTLY",
                 PQgetvalue(found, 0, 0));
  assert_int_equal(PQsendQuery(detacher, sql), 1);
  wait_until(f, "SELECT count(*) FROM pg_inherits WHERE inhdetachpending");
  pg_observer_run(blocker, "COMMIT");
  wait_all(f);
  assert_non_null(job->failure);
  assert_int_equal(
      store_number(&f->store, "SELECT count(*) FROM audit_events WHERE event_action = 'forged'"),
      0);
  (void)snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS %s", PQgetvalue(found, 0, 0));
  PQclear(found);
  PQfinish(detacher);
  PQfinish(blocker);
  store_sql(&f->store, sql);
}

/* ---- types, and constraints of others ---- */

static void times_that_lose_their_microseconds_are_not_acknowledged(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  store_sql(&f->store, "ALTER TABLE audit_events ALTER received_at TYPE timestamptz(0)");
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  store_sql(&f->store, "ALTER TABLE audit_events ALTER received_at TYPE timestamptz");
  assert_failed(job, GRPC_UNAVAILABLE);
  struct job *after = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  assert_stored(after);
}

static void data_that_would_be_rewritten_is_not_acknowledged(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  store_sql(&f->store, "ALTER TABLE audit_events ALTER event_data TYPE jsonb");
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  store_sql(&f->store, "ALTER TABLE audit_events ALTER event_data TYPE json");
  assert_failed(job, GRPC_UNAVAILABLE);
}

static void a_row_that_breaks_an_index_of_others_is_answered_alone(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  store_sql(&f->store,
            "CREATE UNIQUE INDEX one_bad ON audit_events (resource_id, event_time)"
            " WHERE resource_id = 'bad'");
  struct job *first = submit(f, NULL, job_with_bad(f, EVENTS));
  wait_all(f);
  assert_stored(first);
  struct job *second = job_with_bad(f, EVENTS);
  second->events[BAD].time_us = first->events[BAD].time_us;
  submit(f, NULL, second);
  wait_all(f);
  store_sql(&f->store, "DROP INDEX one_bad");
  for (int i = 0; i < EVENTS; i++)
    assert_int_equal(code_of(second, i), i == BAD ? GRPC_FAILED_PRECONDITION : GRPC_OK);
  assert_int_equal(row_count(f), 1 + 2 * EVENTS - 1);
  assert_ledgers_are_dense(f);
}

static void a_bad_event_fails_its_atomic_request_and_no_other(void **state) {
  struct fixture *f = *state;
  make_function(f, "IF new.resource_id = 'bad' THEN RETURN NULL; END IF; RETURN new;");
  store_sql(&f->store, BEFORE_INSERT);
  for (int i = 0; i < 9; i++) {
    struct job *job = job_new(f, 4);
    if (i == 5)
      job->events[2].text[EVENT_TEXT_RESOURCE_ID] = str_z("bad");
    submit(f, NULL, job);
  }
  wait_all(f);
  for (int i = 0; i < 9; i++) {
    if (i == 5)
      assert_failed(f->jobs[i], GRPC_UNAVAILABLE);
    else
      assert_stored(f->jobs[i]);
  }
  assert_int_equal(row_count(f), 32);
  assert_ledgers_are_dense(f);
}

/* Written in parts: each receipt has the place of its event, and the proofs are of one commit. */
static void a_request_that_is_stored_in_parts_has_the_right_receipts(void **state) {
  struct fixture *f = *state;
  make_function(f, "IF new.resource_id = 'bad' THEN RAISE EXCEPTION 'no'; END IF; RETURN new;");
  store_sql(&f->store, BEFORE_INSERT);
  struct job *job = job_new(f, 100);
  job->request.is_atomic = false;
  job->request.wants_proof = true;
  for (int i = 0; i < 100; i += 33)
    job->events[i].text[EVENT_TEXT_RESOURCE_ID] = str_z("bad");
  submit(f, NULL, job);
  wait_all(f);
  int64_t last = -1;
  for (int i = 0; i < 100; i++) {
    assert_int_equal(code_of(job, i), i % 33 ? GRPC_OK : GRPC_FAILED_PRECONDITION);
    if (i % 33 == 0)
      continue;
    assert_receipt(f, job, i);
    assert_int_equal(result(job, i)->sequence, last + 1);
    last++;
  }
  assert_int_equal(row_count(f), 96);
  assert_ledgers_are_dense(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_row_that_a_trigger_drops_is_not_acknowledged),
      TEST(a_row_that_a_trigger_changes_is_not_acknowledged),
      TEST(a_row_whose_place_a_trigger_changes_is_not_acknowledged),
      TEST(a_row_that_is_deleted_again_is_not_acknowledged),
      TEST(a_row_that_would_be_deleted_at_the_commit_is_not_acknowledged),
      TEST(a_row_that_a_trigger_refuses_is_answered_alone),
      TEST(so_is_one_that_it_refuses_by_a_code_of_its_own),
      TEST(so_is_one_that_is_refused_at_the_commit),
      TEST(a_trigger_that_does_no_harm_does_none),
      TEST(what_a_rule_swallowed_is_not_acknowledged_and_nothing_is_afterwards),
      TEST(what_a_rule_diverts_is_not_acknowledged),
      TEST(an_advance_that_is_dropped_is_noticed),
      TEST(a_record_that_is_dropped_is_noticed),
      TEST(a_record_that_is_changed_afterwards_is_noticed),
      TEST(a_node_that_is_changed_is_noticed),
      TEST(a_node_that_is_changed_afterwards_is_noticed),
      TEST(a_trigger_made_while_a_write_waits_for_the_events_is_noticed),
      TEST(a_trigger_made_while_a_write_waits_for_the_records_is_noticed),
      TEST(a_row_moved_to_a_child_while_a_write_waits_is_noticed),
      TEST(a_trigger_of_a_partition_that_is_being_detached_is_noticed),
      TEST(times_that_lose_their_microseconds_are_not_acknowledged),
      TEST(data_that_would_be_rewritten_is_not_acknowledged),
      TEST(a_row_that_breaks_an_index_of_others_is_answered_alone),
      TEST(a_bad_event_fails_its_atomic_request_and_no_other),
      TEST(a_request_that_is_stored_in_parts_has_the_right_receipts),
  };
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
