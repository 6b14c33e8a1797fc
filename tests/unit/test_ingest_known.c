/*
 * Ingest and what it knows of its ledgers: claims whose answers are lost, databases that went back,
 * rows that stand in the way, clocks that are set back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ingest_fixture.h"

/* One lane's work: fewer events than are split. */
static struct job *write_some(struct fixture *f, int count) {
  struct job *job = submit(f, NULL, job_new(f, count));
  wait_all(f);
  return job;
}

static int64_t ledger_of(const struct job *job) {
  assert_stored(job);
  return result(job, 0)->ledger_id;
}

/* ---- claims in doubt ---- */

#define LOCK_LEDGERS "BEGIN; LOCK TABLE ledgers"

#define WAITS_FOR_LOCK "SELECT count(*) FROM pg_locks WHERE NOT granted"

static void a_claim_whose_answer_is_lost_costs_no_ledger(void **state) {
  struct fixture *f = *state;
  set_standby(f, "nobody");
  struct job *job = submit(f, NULL, job_new(f, 1));
  /* The claim is committed, and its answer is on its way for ever. */
  wait_for_event(f, "SyncRep");
  set_standby(f, "");
  kill_backends(f);
  wait_all(f);
  assert_int_equal(ledger_of(job), 1);
  for (int i = 0; i < 5; i++)
    assert_int_equal(ledger_of(write_some(f, 2)), 1);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 1);
  assert_ledgers_are_dense(f);
}

static void callers_are_answered_in_time_while_a_claim_waits(void **state) {
  struct fixture *f = *state;
  store_sql(&f->store, LOCK_LEDGERS);
  struct job *jobs[3];
  for (int i = 0; i < 3; i++) {
    jobs[i] = job_new(f, 1);
    jobs[i]->request.deadline_us = now_us(f) + (i + 1) * SECOND_US / 2;
    submit(f, NULL, jobs[i]);
  }
  wait_until(f, WAITS_FOR_LOCK);
  wait_all(f);
  assert_true(now_us(f) < jobs[2]->request.deadline_us + SECOND_US);
  for (int i = 0; i < 3; i++)
    assert_non_null(jobs[i]->failure);
  store_sql(&f->store, "ROLLBACK");
  for (int i = 0; i < 5; i++)
    assert_stored(write_some(f, 1));
  assert_true(store_number(&f->store, "SELECT count(*) FROM ledgers") <= f->config.lanes);
}

static void claims_that_end_with_their_connection_leave_no_ledgers(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 4; i++) {
    store_sql(&f->store, "DELETE FROM ledgers");
    store_sql(&f->store, LOCK_LEDGERS);
    submit(f, NULL, job_new(f, 1));
    wait_until(f, WAITS_FOR_LOCK);
    kill_backends(f);
    store_sql(&f->store, "COMMIT");
    wait_all(f);
    assert_stored(f->jobs[f->job_count - 1]);
    assert_int_equal(store_number(&f->store,
                                  "SELECT count(*) FROM ledgers"
                                  " WHERE closed_since IS NULL"),
                     1);
    store_sql(&f->store,
              "UPDATE ledgers SET owner = gen_random_uuid(), leased_until = now()"
              " WHERE closed_since IS NULL");
  }
}

/* ---- databases that went back ---- */

/* The first id of the epoch after that of ledger 1: what was used on the other copy isn't used
 * again. */
#define NEXT_EPOCH 1000001

#define KEEP_COPY                                                                                  \
  "CREATE TABLE kept_ledgers AS TABLE ledgers; CREATE TABLE kept_store AS TABLE store;"            \
  "CREATE TABLE kept_batches AS TABLE ledger_batches; CREATE TABLE kept_events AS TABLE "          \
  "audit_events"
#define PUT_BACK_COPY                                                                              \
  "BEGIN; DELETE FROM ledgers; DELETE FROM ledger_batches; DELETE FROM audit_events;"              \
  "INSERT INTO ledgers TABLE kept_ledgers; INSERT INTO ledger_batches TABLE kept_batches;"         \
  "INSERT INTO audit_events TABLE kept_events;"                                                    \
  "UPDATE store SET next_ledger_id = (SELECT next_ledger_id FROM kept_store); COMMIT"
#define DROP_COPY "DROP TABLE kept_ledgers, kept_batches, kept_events, kept_store"

static void a_ledger_that_went_back_is_not_gone_on_with(void **state) {
  struct fixture *f = *state;
  assert_int_equal(ledger_of(write_some(f, 3)), 1);
  store_sql(&f->store, KEEP_COPY);
  assert_int_equal(ledger_of(write_some(f, 2)), 1);
  store_sql(&f->store, PUT_BACK_COPY);
  store_sql(&f->store, DROP_COPY);
  struct job *job = write_some(f, 2);
  assert_int_equal(ledger_of(job), NEXT_EPOCH);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM ledgers WHERE ledger_id = 1"
                                " AND suspect_since IS NOT NULL AND tree_size = 3"),
                   1);
  assert_int_equal(ledger_of(write_some(f, 2)), NEXT_EPOCH);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
}

/* Before it was made, even; its name isn't used for another. */
static void a_ledger_that_is_gone_is_told_and_not_made_again(void **state) {
  struct fixture *f = *state;
  store_sql(&f->store, KEEP_COPY);
  assert_int_equal(ledger_of(write_some(f, 3)), 1);
  store_sql(&f->store, PUT_BACK_COPY);
  store_sql(&f->store, DROP_COPY);
  assert_int_equal(ledger_of(write_some(f, 2)), NEXT_EPOCH);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
}

static void a_ledger_that_went_back_and_on_by_others_is_suspect(void **state) {
  struct fixture *f = *state;
  assert_int_equal(ledger_of(write_some(f, 3)), 1);
  store_sql(&f->store, KEEP_COPY);
  assert_int_equal(ledger_of(write_some(f, 2)), 1);
  /* What another daemon writes on the older copy, up to the same size and beyond. */
  store_sql(&f->store, PUT_BACK_COPY);
  ledger_memory_reset(f->memory, NULL, 0);
  store_sql(&f->store, "UPDATE ledgers SET owner = NULL");
  struct ledger_head known = {5, {{1, 2, 3}}};
  ledger_memory_note(f->memory, 1, &known);
  store_sql(&f->store, DROP_COPY);
  assert_int_equal(ledger_of(write_some(f, 2)), NEXT_EPOCH);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
}

/* ---- rows in the way ---- */

static void a_node_in_the_way_costs_a_ledger_and_no_write(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 1000;
  write_some(f, 10);
  store_sql(&f->store,
            "INSERT INTO ledger_nodes (ledger_id, level, node_index, hash) VALUES (1, 8, 0,"
            " sha256('x'))");
  struct job *job = write_some(f, 300);
  assert_int_equal(ledger_of(job), 2);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
  assert_int_equal(store_number(&f->store, "SELECT tree_size FROM ledgers WHERE ledger_id = 1"),
                   10);
}

static void a_record_in_the_way_costs_a_ledger_and_no_write(void **state) {
  struct fixture *f = *state;
  write_some(f, 3);
  store_sql(&f->store,
            "INSERT INTO ledger_batches SELECT ledger_id, 3, event_count, leaf_hashes, root,"
            " committed_at, NULL FROM ledger_batches");
  assert_int_equal(ledger_of(write_some(f, 2)), 2);
  assert_int_equal(ingest_stats_of(f).suspects, 1);
}

static void a_ledger_that_cannot_be_read_is_left(void **state) {
  struct fixture *f = *state;
  write_some(f, 3);
  store_sql(&f->store, "ALTER TABLE ledgers ALTER tree_size DROP NOT NULL");
  store_sql(&f->store, "UPDATE ledgers SET tree_size = NULL");
  struct job *job = write_some(f, 2);
  store_sql(&f->store, "DELETE FROM ledgers WHERE tree_size IS NULL");
  store_sql(&f->store, "ALTER TABLE ledgers ALTER tree_size SET NOT NULL");
  assert_int_equal(ledger_of(job), 2);
  assert_int_equal(ingest_stats_of(f).unreadable, 1);
}

static void a_ledger_about_which_no_question_is_answered_is_left(void **state) {
  struct fixture *f = *state;
  write_some(f, 3);
  store_sql(&f->store, "UPDATE ledger_batches SET first_sequence = 9223372036854775807");
  store_sql(&f->store, "UPDATE ledgers SET tree_size = 4");
  assert_int_equal(ledger_of(write_some(f, 2)), 2);
  assert_int_equal(ingest_stats_of(f).unreadable, 1);
}

/* ---- time ---- */

static int64_t wall_back_us;

static int64_t read_wall(const struct clock *clock) {
  (void)clock;
  return clock_wall_us(&clock_system) - wall_back_us;
}

static int64_t read_monotonic(const struct clock *clock) {
  (void)clock;
  return clock_monotonic_us(&clock_system);
}

static const struct clock slow_clock = {.monotonic_us = read_monotonic, .wall_us = read_wall};

static void committed_times_never_go_back_in_a_ledger(void **state) {
  struct fixture *f = *state;
  f->store.loop.clock = &slow_clock;
  wall_back_us = 0;
  struct job *first = write_some(f, 1);
  wall_back_us = 7200 * SECOND_US;
  struct job *second = write_some(f, 1);
  assert_int_equal(ledger_of(second), 1);
  assert_int_equal(result(second, 0)->committed_us, result(first, 0)->committed_us);
  /* So it is for who claims the ledger anew. */
  store_sql(&f->store, "UPDATE ledgers SET owner = gen_random_uuid(), leased_until = now()");
  struct job *third = write_some(f, 1);
  assert_int_equal(ledger_of(third), 1);
  assert_true(result(third, 0)->committed_us >= result(first, 0)->committed_us);
  wall_back_us = 0;
  struct job *fourth = write_some(f, 1);
  assert_true(result(fourth, 0)->committed_us > result(first, 0)->committed_us);
  assert_true(ingest_stats_of(f).clock_held >= 2);
  f->store.loop.clock = &clock_system;
}

/* Once the clock that was ahead is right again, so are the times, in another ledger. */
static void a_ledger_that_lies_in_the_future_is_left(void **state) {
  struct fixture *f = *state;
  f->store.loop.clock = &slow_clock;
  wall_back_us = -7200 * SECOND_US;
  struct job *ahead = write_some(f, 1);
  wall_back_us = 0;
  struct job *held = write_some(f, 1);
  assert_int_equal(ledger_of(held), 1);
  assert_true(result(held, 0)->committed_us >= result(ahead, 0)->committed_us);
  struct job *right = write_some(f, 1);
  assert_int_equal(ledger_of(right), 2);
  assert_true(result(right, 0)->committed_us <= clock_wall_us(&clock_system));
  assert_int_equal(ledger_of(write_some(f, 1)), 2);
  assert_int_equal(ingest_stats_of(f).suspects, 0);
  f->store.loop.clock = &clock_system;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_claim_whose_answer_is_lost_costs_no_ledger),
      TEST(callers_are_answered_in_time_while_a_claim_waits),
      TEST(claims_that_end_with_their_connection_leave_no_ledgers),
      TEST(a_ledger_that_went_back_is_not_gone_on_with),
      TEST(a_ledger_that_is_gone_is_told_and_not_made_again),
      TEST(a_ledger_that_went_back_and_on_by_others_is_suspect),
      TEST(a_node_in_the_way_costs_a_ledger_and_no_write),
      TEST(a_record_in_the_way_costs_a_ledger_and_no_write),
      TEST(a_ledger_that_cannot_be_read_is_left),
      TEST(a_ledger_about_which_no_question_is_answered_is_left),
      TEST(committed_times_never_go_back_in_a_ledger),
      TEST(a_ledger_that_lies_in_the_future_is_left),
  };
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
