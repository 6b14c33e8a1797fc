/*
 * Ingest when PostgreSQL refuses, is written to by others, loses connections, or goes away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ingest_fixture.h"

/* ---- partitions and refusals ---- */

static void months_are_made_on_demand(void **state) {
  struct fixture *f = *state;
  struct job *job = job_new(f, 3);
  job->events[0].time_us = -1000000;
  job->events[2].time_us = 4102444800000000; /* 2100 */
  submit(f, NULL, job);
  wait_all(f);
  assert_stored(job);
  assert_int_equal(row_count(f), 3);
}

static void a_month_that_was_dropped_is_made_again(void **state) {
  struct fixture *f = *state;
  struct job *first = job_new(f, 1);
  first->events[0].time_us = 946684800000000; /* 2000 */
  submit(f, NULL, first);
  wait_all(f);
  assert_stored(first);
  PGresult *name = store_query(&f->store, "SELECT tableoid::regclass FROM audit_events");
  char sql[128];
  snprintf(sql, sizeof(sql), "DROP TABLE %s", PQgetvalue(name, 0, 0));
  PQclear(name);
  PQclear(store_query(&f->store, sql));
  struct job *second = job_new(f, 1);
  second->events[0].time_us = 946684800000001;
  submit(f, NULL, second);
  wait_all(f);
  assert_stored(second);
  assert_int_equal(row_count(f), 1);
}

static void one_refused_row_fails_its_request_only(void **state) {
  struct fixture *f = *state;
  PQclear(store_query(&f->store,
                      "ALTER TABLE audit_events ADD CONSTRAINT no_poison"
                      " CHECK (event_type <> 'poison')"));
  struct ingest_source *source = source_new(f);
  for (int i = 0; i < 40; i++) {
    struct job *job = job_new(f, 3);
    if (i == 5 || i == 29)
      job->events[1].text[EVENT_TEXT_EVENT_TYPE] = str_z("poison");
    submit(f, source, job);
  }
  wait_all(f);
  PQclear(store_query(&f->store, "ALTER TABLE audit_events DROP CONSTRAINT no_poison"));
  for (int i = 0; i < 40; i++) {
    if (i != 5 && i != 29) {
      assert_stored(f->jobs[i]);
      continue;
    }
    assert_failed(f->jobs[i], GRPC_FAILED_PRECONDITION);
    assert_non_null(strstr(grpc_status_message(f->jobs[i]->failure), "23514"));
  }
  assert_int_equal(row_count(f), 38 * 3);
  assert_ledgers_are_dense(f);
}

static void without_a_table_callers_are_asked_to_come_again(void **state) {
  struct fixture *f = *state;
  PQclear(store_query(&f->store, "ALTER TABLE ledgers RENAME TO gone"));
  struct job *job = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  PQclear(store_query(&f->store, "ALTER TABLE gone RENAME TO ledgers"));
  assert_failed(job, GRPC_UNAVAILABLE);
}

/* ---- other writers and lost connections ---- */

static void a_ledger_taken_by_another_is_left_to_it(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 100;
  submit(f, NULL, job_new(f, 2));
  wait_all(f);
  PQclear(store_query(&f->store, "UPDATE ledgers SET owner = gen_random_uuid()"));
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  assert_stored(job);
  assert_int_equal(result(job, 0)->ledger_id, 2);
  assert_int_equal(result(job, 0)->sequence, 0);
  assert_false(result(job, 0)->is_duplicate);
  assert_int_equal(row_count(f), 4);
  assert_ledgers_are_dense(f);
}

static void a_suspect_ledger_is_left_alone(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 100;
  submit(f, NULL, job_new(f, 2));
  wait_all(f);
  PQclear(store_query(&f->store, "UPDATE ledgers SET owner = NULL, tree_size = 3"));
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  assert_stored(job);
  assert_int_equal(result(job, 0)->ledger_id, 2);
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM ledgers WHERE ledger_id = 1"
                                " AND tree_size = 3 AND owner IS NULL"
                                " AND suspect_since IS NOT NULL"),
                   1);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.suspects, 1);
  assert_int_equal(stats.claims, 2);
}

static void killed_connections_lose_and_double_nothing(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 40;
  /* Dials are killed as well, and some in a row: that is no outage here. */
  f->store.database.fail_fast_after_us = 20 * CLOCK_US_PER_S;
  struct ingest_source *source = source_new(f);
  for (int i = 0; i < 400; i++) {
    submit(f, i % 2 ? source : NULL, job_new(f, 1 + i % 9));
    if (i % 3 == 0)
      uv_run(&f->store.uv, UV_RUN_NOWAIT);
    if (i % 8 == 0)
      kill_backends(f);
  }
  for (int i = 0; i < 20; i++) {
    store_turn(&f->store);
    kill_backends(f);
  }
  wait_all(f);
  int64_t last_place[3] = {-1, -1, -1};
  for (int i = 0; i < f->job_count; i++) {
    const struct job *job = f->jobs[i];
    assert_stored(job);
    for (int j = 0; j < job->request.count; j++) {
      assert_receipt(f, job, j);
      assert_false(result(job, j)->is_duplicate);
    }
    if (i % 2 == 0)
      continue;
    int64_t *last = &last_place[result(job, 0)->ledger_id];
    assert_true(result(job, 0)->sequence > *last);
    *last = result(job, 0)->sequence;
  }
  assert_int_equal(row_count(f), f->next_event - 1);
  assert_ledgers_are_dense(f);
}

/* The server commits, waits for a standby that doesn't exist, and loses the connection there: the
 * batch is in and nobody said so. */
static void a_commit_whose_answer_was_lost_is_found(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  set_standby(f, "nobody");
  /* A new connection sees the setting for certain. */
  kill_backends(f);
  struct job *job = submit(f, NULL, job_new(f, 3));
  wait_for_event(f, "SyncRep");
  set_standby(f, "");
  kill_backends(f);
  wait_all(f);
  assert_stored(job);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(result(job, i)->sequence, i + 1);
    assert_false(result(job, i)->is_duplicate);
  }
  assert_int_equal(row_count(f), 4);
  assert_ledgers_are_dense(f);
}

static void a_write_lost_before_its_commit_is_sent_again(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  lock_ledger(f);
  struct job *job = submit(f, NULL, job_new(f, 3));
  wait_for_event(f, "transactionid");
  kill_backends(f);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
  assert_stored(job);
  assert_int_equal(result(job, 0)->sequence, 1);
  assert_false(result(job, 0)->is_duplicate);
  assert_ledgers_are_dense(f);
}

static void an_outcome_not_found_out_in_time_is_said_to_be_unknown(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  lock_ledger(f);
  struct job *job = job_new(f, 1);
  job->request.deadline_us = now_us(f) + 2 * SECOND_US;
  submit(f, NULL, job);
  wait_for_event(f, "transactionid");
  kill_backends(f);
  wait_all(f);
  assert_true(now_us(f) < job->request.deadline_us);
  PQclear(store_query(&f->store, "ROLLBACK"));
  assert_failed(job, GRPC_UNAVAILABLE);
  assert_non_null(strstr(grpc_status_message(job->failure), "outcome unknown"));
  struct job *again = submit(f, NULL, repeat(f, job));
  wait_all(f);
  assert_stored(again);
  assert_ledgers_are_dense(f);
}

static void a_stopped_server_is_answered_in_time_and_used_again(void **state) {
  struct fixture *f = *state;
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  store_stop_server(&f->store, "immediate");
  struct job *jobs[10];
  for (int i = 0; i < 10; i++) {
    jobs[i] = job_new(f, 1);
    jobs[i]->request.deadline_us = now_us(f) + (i % 2 ? 1 : 3) * SECOND_US;
    submit(f, NULL, jobs[i]);
  }
  wait_all(f);
  for (int i = 0; i < 10; i++)
    assert_failed(jobs[i], GRPC_UNAVAILABLE);
  assert_true(now_us(f) < jobs[1]->request.deadline_us + 2 * SECOND_US);
  assert_non_null(strstr(grpc_status_message(jobs[0]->failure), "PostgreSQL"));
  assert_int_equal(grpc_status_proto(jobs[0]->failure)->n_details, 1); /* RetryInfo */
  store_start_server(&f->store);
  /* Until the pool has dialled again it answers at once what it knows. */
  int64_t limit_us = now_us(f) + 20 * SECOND_US;
  struct job *job = NULL;
  do {
    job = submit(f, NULL, job_new(f, 2));
    wait_all(f);
    for (int i = 0; i < 5; i++)
      store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  } while (job->failure);
  assert_stored(job);
  assert_ledgers_are_dense(f);
}

static void a_commit_survives_a_crash_of_the_server(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 100; i++)
    submit(f, NULL, job_new(f, 3));
  f->config.max_batch_events = 6;
  while (f->done_count < 20)
    store_turn(&f->store);
  store_stop_server(&f->store, "immediate");
  store_start_server(&f->store);
  wait_all(f);
  int stored = 0;
  for (int i = 0; i < f->job_count; i++) {
    if (f->jobs[i]->failure) {
      assert_failed(f->jobs[i], GRPC_UNAVAILABLE);
      continue;
    }
    stored++;
    for (int j = 0; j < 3; j++)
      assert_receipt(f, f->jobs[i], j);
  }
  assert_true(stored >= 20);
  assert_ledgers_are_dense(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      TEST(months_are_made_on_demand),
      TEST(a_month_that_was_dropped_is_made_again),
      TEST(one_refused_row_fails_its_request_only),
      TEST(without_a_table_callers_are_asked_to_come_again),
      TEST(a_ledger_taken_by_another_is_left_to_it),
      TEST(a_suspect_ledger_is_left_alone),
      TEST(killed_connections_lose_and_double_nothing),
      TEST(a_commit_whose_answer_was_lost_is_found),
      TEST(a_write_lost_before_its_commit_is_sent_again),
      TEST(an_outcome_not_found_out_in_time_is_said_to_be_unknown),
      TEST(a_stopped_server_is_answered_in_time_and_used_again),
      TEST(a_commit_survives_a_crash_of_the_server),
  };
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
