/*
 * Two lanes on one ledger: a batch that is sent behind another, and what becomes of it when either
 * fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ingest_fixture.h"

/* As many as are worth a lane, and several requests of them. */
enum { REQUESTS = 5, REQUEST_EVENTS = 4 };

/* Two batches of one source, the second sent behind the first, which waits for the ledger's row. */
struct pair {
  struct ingest_source *source;
  struct job *first[REQUESTS];
  struct job *second[REQUESTS];
};

static void submit_batch(struct fixture *f, struct pair *pair, struct job **jobs) {
  for (int i = 0; i < REQUESTS; i++)
    jobs[i] = submit(f, pair->source, jobs[i] ? jobs[i] : job_new(f, REQUEST_EVENTS));
}

/* Jobs that `pair` has already are sent in their place. */
static void send_blocked(struct fixture *f, struct pair *pair, const char *wait_event) {
  submit_batch(f, pair, pair->first);
  wait_for_event(f, wait_event);
  submit_batch(f, pair, pair->second);
  wait_for_event(f, "advisory");
}

/* A ledger to lock, with one event in it. */
static struct job *open_ledger(struct fixture *f, struct pair *pair) {
  f->config.min_split_events = REQUESTS * REQUEST_EVENTS;
  *pair = (struct pair){.source = source_new(f)};
  struct job *job = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  return job;
}

static void assert_batch(struct fixture *f, struct job *const *jobs, int64_t first) {
  for (int i = 0; i < REQUESTS; i++) {
    assert_stored(jobs[i]);
    for (int j = 0; j < REQUEST_EVENTS; j++) {
      assert_receipt(f, jobs[i], j);
      assert_false(result(jobs[i], j)->is_duplicate);
      assert_int_equal(result(jobs[i], j)->ledger_id, 1);
      assert_int_equal(result(jobs[i], j)->sequence, first + i * REQUEST_EVENTS + j);
    }
  }
}

/* Both batches are in the ledger, one behind the other. */
static void assert_pair(struct fixture *f, const struct pair *pair) {
  assert_batch(f, pair->first, 1);
  assert_batch(f, pair->second, 1 + REQUESTS * REQUEST_EVENTS);
  assert_int_equal(row_count(f), 1 + 2 * REQUESTS * REQUEST_EVENTS);
  assert_ledgers_are_dense(f);
}

static void commit(struct fixture *f) {
  PQclear(store_query(&f->store, "COMMIT"));
}

/* ---- when all goes well ---- */

static void what_comes_meanwhile_is_sent_behind(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  send_blocked(f, &pair, "transactionid");
  commit(f);
  wait_all(f);
  assert_pair(f, &pair);
  /* The second has taken the first's ledger over, as it is by now. */
  f->config.min_split_events = 1;
  for (int i = 0; i < 2; i++)
    submit(f, NULL, job_new(f, 1));
  wait_all(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.followed, 1);
  assert_int_equal(stats.claims, 2);
  assert_int_equal(stats.batches[INGEST_BATCH_STALE], 0);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 5);
}

static void too_little_is_not_sent_behind(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  submit_batch(f, &pair, pair.first);
  wait_for_event(f, "transactionid");
  for (int i = 0; i < REQUESTS - 1; i++)
    submit(f, pair.source, job_new(f, REQUEST_EVENTS));
  struct job *other = submit(f, NULL, job_new(f, 1));
  store_run_until(&f->store, &other->is_done);
  commit(f);
  wait_all(f);
  assert_int_equal(ingest_stats_of(f).followed, 0);
}

static void one_batch_is_followed_by_one_lane(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  send_blocked(f, &pair, "transactionid");
  for (int i = 0; i < REQUESTS; i++)
    submit(f, pair.source, job_new(f, REQUEST_EVENTS));
  struct job *other = submit(f, NULL, job_new(f, 1));
  store_run_until(&f->store, &other->is_done);
  assert_int_equal(ingest_stats_of(f).followed, 1);
  commit(f);
  wait_all(f);
  assert_batch(f, pair.first, 1);
  assert_batch(f, pair.second, 1 + REQUESTS * REQUEST_EVENTS);
  assert_ledgers_are_dense(f);
}

/* What is left of the first would come after the second. */
static void part_of_a_batch_is_not_followed(void **state) {
  struct fixture *f = *state;
  struct ingest_source *source = source_new(f);
  PQclear(store_query(&f->store,
                      "ALTER TABLE audit_events ADD CONSTRAINT no_poison"
                      " CHECK (event_type <> 'poison')"));
  for (int i = 0; i < 4 * REQUESTS; i++)
    submit(f, source, job_new(f, REQUEST_EVENTS));
  f->jobs[4 * REQUESTS - 1]->events[0].text[EVENT_TEXT_EVENT_TYPE] = str_z("poison");
  while (ingest_stats_of(f).bisections == 0)
    store_turn(&f->store);
  for (int i = 0; i < 4 * REQUESTS; i++)
    submit(f, source, job_new(f, REQUEST_EVENTS));
  wait_all(f);
  PQclear(store_query(&f->store, "ALTER TABLE audit_events DROP CONSTRAINT no_poison"));
  int64_t next = 0;
  for (int i = 0; i < f->job_count; i++) {
    if (f->jobs[i]->failure)
      continue;
    assert_int_equal(result(f->jobs[i], 0)->sequence, next);
    next += REQUEST_EVENTS;
  }
  assert_int_equal(row_count(f), next);
}

/* The lanes take turns on one ledger for as long as the source has more. */
static void a_stream_stays_in_order(void **state) {
  struct fixture *f = *state;
  struct ingest_source *source = source_new(f);
  f->config.max_batch_events = 40;
  for (int i = 0; i < 900; i++) {
    submit(f, source, job_new(f, 1 + i % 9));
    if (i % 5 == 0)
      store_turn(&f->store);
  }
  wait_all(f);
  int64_t next[3] = {0};
  for (int i = 0; i < f->job_count; i++) {
    const struct ingest_result *first = result(f->jobs[i], 0);
    assert_stored(f->jobs[i]);
    assert_int_equal(first->sequence, next[first->ledger_id]);
    next[first->ledger_id] += f->jobs[i]->request.count;
  }
  assert_ledgers_are_dense(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_true(stats.followed > 5);
  assert_int_equal(stats.batches[INGEST_BATCH_LOST] + stats.batches[INGEST_BATCH_REFUSED], 0);
}

/* ---- when one of them fails ---- */

static void a_batch_behind_a_refused_one_is_written_after_it(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  const struct job *stored = open_ledger(f, &pair);
  pair.first[2] = repeat(f, stored);
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "DELETE FROM audit_events"));
  f->config.min_split_events = (REQUESTS - 1) * REQUEST_EVENTS + 1;
  send_blocked(f, &pair, "transactionid");
  PQclear(store_query(&f->store, "ROLLBACK"));
  wait_all(f);
  assert_true(result(pair.first[2], 0)->is_duplicate);
  assert_int_equal(result(pair.first[4], 3)->sequence, 16);
  assert_batch(f, pair.second, 17);
  assert_ledgers_are_dense(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.batches[INGEST_BATCH_REFUSED], 1);
  assert_int_equal(stats.batches[INGEST_BATCH_STALE], 1);
  assert_int_equal(stats.retries, 0);
}

static void a_refused_batch_behind_another_is_dealt_with_after_it(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  const struct job *stored = open_ledger(f, &pair);
  f->config.min_split_events = (REQUESTS - 1) * REQUEST_EVENTS + 1;
  pair.second[0] = repeat(f, stored);
  lock_ledger(f);
  submit_batch(f, &pair, pair.first);
  wait_for_event(f, "transactionid");
  submit_batch(f, &pair, pair.second);
  while (ingest_stats_of(f).batches[INGEST_BATCH_REFUSED] == 0)
    store_turn(&f->store);
  commit(f);
  wait_all(f);
  assert_batch(f, pair.first, 1);
  assert_true(result(pair.second[0], 0)->is_duplicate);
  assert_int_equal(result(pair.second[1], 0)->sequence, 21);
  assert_int_equal(result(pair.second[4], 3)->sequence, 36);
  assert_int_equal(row_count(f), 37);
  assert_ledgers_are_dense(f);
}

static void a_batch_behind_a_lost_one_is_written_after_it(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  send_blocked(f, &pair, "transactionid");
  kill_waiting(f, "transactionid");
  while (ingest_stats_of(f).batches[INGEST_BATCH_LOST] == 0)
    store_turn(&f->store);
  commit(f);
  wait_all(f);
  assert_pair(f, &pair);
  assert_int_equal(ingest_stats_of(f).batches[INGEST_BATCH_STALE], 1);
}

static void a_lost_batch_behind_another_is_sent_again_after_it(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  send_blocked(f, &pair, "transactionid");
  kill_waiting(f, "advisory");
  while (ingest_stats_of(f).batches[INGEST_BATCH_LOST] == 0)
    store_turn(&f->store);
  assert_false(pair.second[0]->is_done);
  commit(f);
  wait_all(f);
  assert_pair(f, &pair);
}

static void wait_until_closed(struct fixture *f) {
  struct pg_pool_stats stats;
  do {
    store_turn(&f->store);
    pg_pool_stats(f->store.pool, &stats);
  } while (stats.open > 0);
}

/* Both are in; nobody said so. */
static void commits_of_both_are_found_when_their_answers_are_lost(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  set_standby(f, "nobody");
  kill_backends(f); /* a new connection sees the setting for certain */
  wait_until_closed(f);
  send_blocked(f, &pair, "SyncRep");
  kill_waiting(f, "SyncRep");
  while (count_waiting(f, "advisory") > 0)
    store_turn(&f->store);
  wait_for_event(f, "SyncRep"); /* the second's */
  kill_waiting(f, "SyncRep");
  while (ingest_stats_of(f).batches[INGEST_BATCH_LOST] < 2)
    store_turn(&f->store);
  set_standby(f, "");
  wait_all(f);
  assert_pair(f, &pair);
}

/* The first waits for a row of a third transaction, the second for the first, the third for a row
 * of the second: the server sees it, and need not wait for any timeout. */
static void a_circle_of_waits_is_ended_by_the_server(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  char id[UUID_TEXT_LEN + 1] = "";
  char sql[256];
  const struct job *stored = open_ledger(f, &pair);
  f->config.min_split_events = (REQUESTS - 1) * REQUEST_EVENTS + 1;
  pair.first[2] = repeat(f, stored);
  pair.second[0] = job_new(f, REQUEST_EVENTS);
  pair.second[0]->events[0].time_us = stored->events[0].time_us;
  PQclear(store_query(&f->store, "CREATE TEMP TABLE sample AS SELECT * FROM audit_events"));
  PQclear(store_query(&f->store, "BEGIN; DELETE FROM audit_events"));
  send_blocked(f, &pair, "transactionid");
  uuid_format(&pair.second[0]->events[0].id, id);
  snprintf(sql, sizeof(sql),
           "UPDATE sample SET event_id = '%s'; INSERT INTO audit_events SELECT * FROM sample", id);
  int64_t start_us = now_us(f);
  PQclear(PQexec(f->store.admin, sql));
  assert_true(now_us(f) < start_us + 5 * SECOND_US);
  PQclear(store_query(&f->store, "ROLLBACK; DROP TABLE sample"));
  wait_all(f);
  assert_true(result(pair.first[2], 0)->is_duplicate);
  assert_batch(f, pair.second, 17);
  assert_ledgers_are_dense(f);
}

static void a_batch_behind_another_is_answered_in_time(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  int64_t deadline_us = now_us(f) + 2 * SECOND_US;
  for (int i = 0; i < REQUESTS; i++) {
    pair.second[i] = job_new(f, REQUEST_EVENTS);
    pair.second[i]->request.deadline_us = deadline_us;
  }
  send_blocked(f, &pair, "transactionid");
  kill_waiting(f, "advisory");
  store_run_until(&f->store, &pair.second[REQUESTS - 1]->is_done);
  assert_true(now_us(f) < deadline_us);
  assert_failed(pair.second[0], GRPC_UNAVAILABLE);
  assert_non_null(strstr(grpc_status_message(pair.second[0]->failure), "outcome unknown"));
  assert_false(pair.first[0]->is_done);
  commit(f);
  wait_all(f);
  assert_batch(f, pair.first, 1);
  struct job *again = submit(f, NULL, repeat(f, pair.second[0]));
  wait_all(f);
  assert_stored(again);
  assert_ledgers_are_dense(f);
}

static void a_drain_ends_both_at_its_deadline(void **state) {
  struct fixture *f = *state;
  struct pair pair;
  open_ledger(f, &pair);
  lock_ledger(f);
  send_blocked(f, &pair, "transactionid");
  drain(f, SECOND_US / 5);
  commit(f);
  for (int i = 0; i < REQUESTS; i++) {
    assert_failed(pair.first[i], GRPC_UNAVAILABLE);
    assert_failed(pair.second[i], GRPC_UNAVAILABLE);
  }
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_comes_meanwhile_is_sent_behind),
      TEST(too_little_is_not_sent_behind),
      cmocka_unit_test_setup_teardown(one_batch_is_followed_by_one_lane, ingest_setup_of_three,
                                      ingest_teardown),
      TEST(part_of_a_batch_is_not_followed),
      TEST(a_stream_stays_in_order),
      TEST(a_batch_behind_a_refused_one_is_written_after_it),
      TEST(a_refused_batch_behind_another_is_dealt_with_after_it),
      TEST(a_batch_behind_a_lost_one_is_written_after_it),
      TEST(a_lost_batch_behind_another_is_sent_again_after_it),
      TEST(commits_of_both_are_found_when_their_answers_are_lost),
      TEST(a_circle_of_waits_is_ended_by_the_server),
      TEST(a_batch_behind_another_is_answered_in_time),
      TEST(a_drain_ends_both_at_its_deadline),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
