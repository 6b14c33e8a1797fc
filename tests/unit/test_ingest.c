/*
 * Ingest against a real PostgreSQL: order, duplicates, atomicity, time, bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "google/rpc/error_details.pb-c.h"
#include "support/ingest_fixture.h"

/* ---- places and order ---- */

static void events_get_dense_places(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 60; i++)
    submit(f, NULL, job_new(f, 1 + i % 7));
  wait_all(f);
  for (int i = 0; i < f->job_count; i++) {
    assert_stored(f->jobs[i]);
    for (int j = 0; j < f->jobs[i]->request.count; j++) {
      assert_receipt(f, f->jobs[i], j);
      assert_int_equal(result(f->jobs[i], j)->sequence, result(f->jobs[i], 0)->sequence + j);
      assert_false(result(f->jobs[i], j)->is_duplicate);
      assert_true(result(f->jobs[i], j)->committed_us >= f->jobs[i]->request.received_us);
    }
  }
  assert_int_equal(row_count(f), f->next_event - 1);
  assert_ledgers_are_dense(f);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 2);
}

/* Holds what the source wrote to last until somebody else waits for it, so that its next request
 * has to take the other lane. */
static struct job *submit_to_other_lane(struct fixture *f, struct ingest_source *source,
                                        const struct job *last) {
  char sql[96];
  snprintf(sql, sizeof(sql), "SELECT * FROM ledgers WHERE ledger_id = %lld FOR UPDATE",
           (long long)result(last, 0)->ledger_id);
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, sql));
  while (store_number(&f->store, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0) {
    submit(f, NULL, job_new(f, 1));
    store_turn(&f->store);
  }
  struct job *job = submit(f, source, job_new(f, 1));
  store_run_until(&f->store, &job->is_done);
  PQclear(store_query(&f->store, "COMMIT"));
  return job;
}

static void a_source_keeps_its_order_across_lanes(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 20;
  struct ingest_source *sources[3];
  for (int s = 0; s < 3; s++)
    sources[s] = source_new(f);
  for (int i = 0; i < 300; i++) {
    submit(f, sources[i % 3], job_new(f, 1 + i % 5));
    submit(f, NULL, job_new(f, 1));
    if (i % 20 == 0)
      store_turn(&f->store);
  }
  wait_all(f);
  int together = f->job_count;
  const struct job *last = f->jobs[together - 2];
  const struct job *elsewhere = submit_to_other_lane(f, sources[2], last);
  wait_all(f);
  assert_stored(elsewhere);
  assert_int_not_equal(result(elsewhere, 0)->ledger_id, result(last, 0)->ledger_id);
  assert_true(last->done_at < elsewhere->done_at);
  for (int i = 0; i + 6 < together; i++) {
    const struct job *job = f->jobs[i];
    const struct job *next = f->jobs[i + 6]; /* of the same source */
    assert_stored(job);
    if (i % 2 == 1)
      continue;
    assert_true(job->done_at < next->done_at);
    if (result(job, 0)->ledger_id == result(next, 0)->ledger_id)
      assert_true(result(job, 0)->sequence < result(next, 0)->sequence);
  }
  assert_ledgers_are_dense(f);
}

static void a_source_in_flight_is_not_taken_by_another_lane(void **state) {
  struct fixture *f = *state;
  struct ingest_source *source = source_new(f);
  submit(f, source, job_new(f, 1));
  wait_all(f);
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers WHERE ledger_id = 1 FOR UPDATE"));
  struct job *first = submit(f, source, job_new(f, 1));
  store_turn(&f->store);
  struct job *second = submit(f, source, job_new(f, 1));
  struct job *other = submit(f, NULL, job_new(f, 1));
  store_run_until(&f->store, &other->is_done);
  assert_false(first->is_done);
  assert_false(second->is_done);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
  assert_true(first->done_at < second->done_at);
}

static void a_request_above_the_batch_size_goes_alone(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 10;
  submit(f, NULL, job_new(f, 50));
  submit(f, NULL, job_new(f, 3));
  wait_all(f);
  assert_stored(f->jobs[0]);
  assert_stored(f->jobs[1]);
  assert_int_equal(result(f->jobs[0], 49)->sequence, result(f->jobs[0], 0)->sequence + 49);
}

static void the_queue_is_split_among_free_lanes(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 1;
  for (int i = 0; i < 10; i++)
    submit(f, NULL, job_new(f, 1));
  wait_all(f);
  assert_int_equal(store_number(&f->store, "SELECT tree_size FROM ledgers WHERE ledger_id = 1"), 5);
  assert_int_equal(store_number(&f->store, "SELECT tree_size FROM ledgers WHERE ledger_id = 2"), 5);
}

/* A lane that took from every stream would leave nothing for the others. */
static void streams_are_split_among_free_lanes(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 1;
  f->config.max_batch_events = 10;
  struct ingest_source *sources[] = {source_new(f), source_new(f), source_new(f), source_new(f)};
  for (int i = 0; i < 20; i++)
    submit(f, sources[i % 4], job_new(f, 2));
  wait_all(f);
  assert_in_range(store_number(&f->store, "SELECT min(tree_size) FROM ledgers"), 10, 20);
  assert_ledgers_are_dense(f);
}

/* ---- duplicates ---- */

static void a_repeat_gets_the_first_receipt(void **state) {
  struct fixture *f = *state;
  struct job *first = submit(f, NULL, job_new(f, 3));
  wait_all(f);
  struct job *second = submit(f, NULL, repeat(f, first));
  wait_all(f);
  assert_stored(first);
  assert_stored(second);
  for (int i = 0; i < 3; i++) {
    assert_true(result(second, i)->is_duplicate);
    assert_int_equal(result(second, i)->ledger_id, result(first, i)->ledger_id);
    assert_int_equal(result(second, i)->sequence, result(first, i)->sequence);
    assert_int_equal(result(second, i)->committed_us, result(first, i)->committed_us);
  }
  assert_int_equal(row_count(f), 3);
  assert_ledgers_are_dense(f);
}

static void repeats_and_new_events_may_be_mixed(void **state) {
  struct fixture *f = *state;
  struct job *first = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  struct job *mixed = job_new(f, 5);
  mixed->events[1] = first->events[1];
  mixed->events[3] = first->events[0];
  submit(f, NULL, mixed);
  struct job *neighbour = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  assert_stored(mixed);
  assert_stored(neighbour);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(result(mixed, i)->is_duplicate, i == 1 || i == 3);
    assert_receipt(f, mixed, i);
  }
  assert_int_equal(row_count(f), 7);
  assert_ledgers_are_dense(f);
}

static void assert_names_event(struct grpc_status *status, const struct event *event) {
  char id[UUID_TEXT_LEN];
  uuid_format(&event->id, id);
  const Google__Rpc__Status *proto = grpc_status_proto(status);
  assert_int_equal(proto->n_details, 1);
  Google__Rpc__ResourceInfo *info = google__rpc__resource_info__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(info);
  assert_int_equal(info->resource_name.len, UUID_TEXT_LEN);
  assert_memory_equal(info->resource_name.data, id, UUID_TEXT_LEN);
  google__rpc__resource_info__free_unpacked(info, NULL);
}

static void other_content_fails_an_atomic_request_as_a_whole(void **state) {
  struct fixture *f = *state;
  struct job *first = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  struct job *bad = job_new(f, 3);
  bad->events[1] = first->events[0];
  change(&bad->events[1]);
  submit(f, NULL, bad);
  struct job *neighbour = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  assert_failed(bad, GRPC_ALREADY_EXISTS);
  assert_names_event(bad->failure, &bad->events[1]);
  assert_stored(neighbour);
  assert_int_equal(row_count(f), 2);
  assert_ledgers_are_dense(f);
}

static void other_content_rejects_one_event_of_a_partial_request(void **state) {
  struct fixture *f = *state;
  struct job *first = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  struct job *partial = job_new(f, 3);
  partial->request.is_atomic = false;
  partial->events[1] = first->events[0];
  change(&partial->events[1]);
  submit(f, NULL, partial);
  wait_all(f);
  assert_null(partial->failure);
  assert_int_equal(grpc_status_code(result(partial, 1)->status), GRPC_ALREADY_EXISTS);
  assert_names_event(result(partial, 1)->status, &partial->events[1]);
  assert_receipt(f, partial, 0);
  assert_receipt(f, partial, 2);
  assert_int_equal(row_count(f), 3);
  assert_ledgers_are_dense(f);
}

static void twins_in_one_batch_are_stored_once(void **state) {
  struct fixture *f = *state;
  f->config.lanes = 2;
  struct ingest_source *source = source_new(f);
  struct job *first = submit(f, source, job_new(f, 2));
  struct job *same = submit(f, source, repeat(f, first));
  struct job *other = job_new(f, 2);
  other->events[0] = first->events[1];
  change(&other->events[0]);
  submit(f, source, other);
  struct job *last = submit(f, source, job_new(f, 1));
  wait_all(f);
  assert_stored(first);
  assert_stored(same);
  assert_stored(last);
  assert_failed(other, GRPC_ALREADY_EXISTS);
  for (int i = 0; i < 2; i++) {
    assert_false(result(first, i)->is_duplicate);
    assert_true(result(same, i)->is_duplicate);
    assert_int_equal(result(same, i)->sequence, result(first, i)->sequence);
  }
  assert_true(result(last, 0)->sequence > result(first, 1)->sequence);
  assert_int_equal(row_count(f), 3);
  assert_ledgers_are_dense(f);
}

static void a_storm_of_the_same_event_is_stored_once(void **state) {
  struct fixture *f = *state;
  struct job *first = submit(f, NULL, job_new(f, 1));
  for (int i = 0; i < 200; i++)
    submit(f, NULL, repeat(f, first));
  wait_all(f);
  int fresh = 0;
  for (int i = 0; i < f->job_count; i++) {
    assert_stored(f->jobs[i]);
    fresh += !result(f->jobs[i], 0)->is_duplicate;
    assert_receipt(f, f->jobs[i], 0);
  }
  assert_int_equal(fresh, 1);
  assert_int_equal(row_count(f), 1);
  assert_ledgers_are_dense(f);
}

static void a_stream_keeps_its_order_around_a_twin(void **state) {
  struct fixture *f = *state;
  struct ingest_source *source = source_new(f);
  struct job *jobs[20];
  for (int i = 0; i < 20; i++) {
    jobs[i] = job_new(f, 2);
    if (i == 7 || i == 13)
      jobs[i]->events[0] = jobs[i - 3]->events[1];
    submit(f, source, jobs[i]);
  }
  wait_all(f);
  for (int i = 0; i < 20; i++) {
    assert_stored(jobs[i]);
    if (i > 0 && result(jobs[i], 1)->ledger_id == result(jobs[i - 1], 1)->ledger_id)
      assert_true(result(jobs[i - 1], 1)->sequence < result(jobs[i], 1)->sequence);
  }
  assert_int_equal(row_count(f), 38);
  assert_ledgers_are_dense(f);
}

/* Requests of two events, the first of which is the last of the request before. */
static void submit_chain(struct fixture *f, struct job **ret_jobs, int count, bool is_atomic,
                         bool conflicts) {
  struct ingest_source *source = source_new(f);
  for (int i = 0; i < count; i++) {
    ret_jobs[i] = job_new(f, 2);
    ret_jobs[i]->request.is_atomic = is_atomic;
    if (i > 0)
      ret_jobs[i]->events[0] = ret_jobs[i - 1]->events[1];
    if (i > 0 && conflicts)
      change(&ret_jobs[i]->events[0]);
    submit(f, source, ret_jobs[i]);
  }
  wait_all(f);
}

/* In a transaction or two, and all that is to be there. */
static void assert_written_at_once(struct fixture *f, int events) {
  assert_int_equal(row_count(f), events);
  assert_in_range(ingest_stats_of(f).batches[INGEST_BATCH_COMMITTED], 1, 3);
  assert_ledgers_are_dense(f);
}

static void a_chain_of_twins_is_written_at_once(void **state) {
  struct fixture *f = *state;
  enum { LINKS = 200 };
  struct job *jobs[LINKS];
  submit_chain(f, jobs, LINKS, true, false);
  for (int i = 0; i < LINKS; i++) {
    assert_stored(jobs[i]);
    assert_receipt(f, jobs[i], 0);
    assert_true(result(jobs[i], 0)->is_duplicate == (i > 0));
    assert_false(result(jobs[i], 1)->is_duplicate);
  }
  assert_written_at_once(f, LINKS + 1);
}

/* What a refused request holds besides isn't there for the next to conflict with. */
static void a_chain_of_conflicts_refuses_each_second_request(void **state) {
  struct fixture *f = *state;
  enum { LINKS = 100 };
  struct job *jobs[LINKS];
  submit_chain(f, jobs, LINKS, true, true);
  for (int i = 0; i < LINKS; i += 2) {
    assert_stored(jobs[i]);
    assert_failed(jobs[i + 1], GRPC_ALREADY_EXISTS);
  }
  assert_written_at_once(f, LINKS);
}

static void a_chain_of_conflicts_is_refused_event_by_event(void **state) {
  struct fixture *f = *state;
  enum { LINKS = 100 };
  struct job *jobs[LINKS];
  submit_chain(f, jobs, LINKS, false, true);
  for (int i = 0; i < LINKS; i++) {
    assert_null(jobs[i]->failure);
    assert_receipt(f, jobs[i], 1);
    if (i > 0)
      assert_int_equal(grpc_status_code(result(jobs[i], 0)->status), GRPC_ALREADY_EXISTS);
  }
  assert_written_at_once(f, LINKS + 1);
}

static void twins_in_one_request_share_a_place(void **state) {
  struct fixture *f = *state;
  struct job *job = job_new(f, 4);
  job->events[2] = job->events[0];
  job->events[3] = job->events[0];
  submit(f, NULL, job);
  wait_all(f);
  assert_stored(job);
  assert_false(result(job, 0)->is_duplicate);
  for (int i = 2; i < 4; i++) {
    assert_true(result(job, i)->is_duplicate);
    assert_int_equal(result(job, i)->sequence, result(job, 0)->sequence);
    assert_int_equal(result(job, i)->committed_us, result(job, 0)->committed_us);
  }
  assert_int_equal(row_count(f), 2);
  assert_ledgers_are_dense(f);
}

static void twins_of_other_content_in_one_request_are_a_conflict(void **state) {
  struct fixture *f = *state;
  struct job *atomic = job_new(f, 3);
  atomic->events[2] = atomic->events[0];
  change(&atomic->events[2]);
  submit(f, NULL, atomic);
  wait_all(f);
  assert_failed(atomic, GRPC_ALREADY_EXISTS);
  assert_int_equal(row_count(f), 0);
  struct job *partial = repeat(f, atomic);
  partial->request.is_atomic = false;
  submit(f, NULL, partial);
  wait_all(f);
  assert_null(partial->failure);
  assert_receipt(f, partial, 0);
  assert_receipt(f, partial, 1);
  assert_int_equal(grpc_status_code(result(partial, 2)->status), GRPC_ALREADY_EXISTS);
  assert_int_equal(row_count(f), 2);
  assert_ledgers_are_dense(f);
}

/* ---- time and bounds ---- */

static void a_request_that_expires_in_the_queue_is_not_written(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 1;
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers FOR UPDATE"));
  struct job *blocked[2] = {submit(f, NULL, job_new(f, 1)), submit(f, NULL, job_new(f, 1))};
  store_turn(&f->store);
  struct job *late = job_new(f, 1);
  late->request.deadline_us = now_us(f) + SECOND_US / 2;
  submit(f, NULL, late);
  store_run_until(&f->store, &late->is_done);
  assert_true(now_us(f) < late->request.deadline_us);
  assert_failed(late, GRPC_DEADLINE_EXCEEDED);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
  assert_stored(blocked[0]);
  assert_stored(blocked[1]);
  assert_int_equal(row_count(f), 4);
}

static void a_deadline_that_passed_is_answered_at_once(void **state) {
  struct fixture *f = *state;
  struct job *job = job_new(f, 1);
  job->request.deadline_us = now_us(f) - 1;
  submit(f, NULL, job);
  wait_all(f);
  assert_failed(job, GRPC_DEADLINE_EXCEEDED);
  assert_int_equal(row_count(f), 0);
}

static void on_wake(void *arg) {
  struct fixture *f = arg;
  f->wake_count++;
}

static void a_full_queue_refuses_and_says_when_it_has_room(void **state) {
  struct fixture *f = *state;
  struct ingest_waiter waiter = {.cb = on_wake, .arg = f};
  f->config.max_queue_events = 10;
  for (int i = 0; i < 5; i++)
    submit(f, NULL, job_new(f, 2));
  struct job *extra = job_new(f, 1);
  assert_int_equal(try_submit(f, NULL, extra), ERR_EXHAUSTED);
  ingest_wait_writable(f->ingest, &waiter);
  ingest_wait_writable(f->ingest, &waiter);
  assert_int_equal(f->wake_count, 0);
  while (f->wake_count == 0)
    store_turn(&f->store);
  assert_false(waiter.is_waiting);
  submit(f, NULL, extra);
  wait_all(f);
  assert_int_equal(f->wake_count, 1);
  assert_stored(extra);
}

static void the_queue_is_bounded_in_bytes(void **state) {
  struct fixture *f = *state;
  f->config.max_queue_bytes = 1000;
  submit(f, NULL, job_new(f, 3));
  struct job *extra = job_new(f, 1);
  assert_int_equal(try_submit(f, NULL, extra), ERR_EXHAUSTED);
  wait_all(f);
  /* An empty queue takes any request. */
  extra->request.size_bytes = 5000;
  submit(f, NULL, extra);
  wait_all(f);
  assert_stored(extra);
}

static void a_cancelled_waiter_is_not_woken(void **state) {
  struct fixture *f = *state;
  struct ingest_waiter waiter = {.cb = on_wake, .arg = f};
  f->config.max_queue_events = 1;
  submit(f, NULL, job_new(f, 1));
  ingest_wait_writable(f->ingest, &waiter);
  ingest_cancel_wait(f->ingest, &waiter);
  ingest_cancel_wait(f->ingest, &waiter);
  wait_all(f);
  assert_int_equal(f->wake_count, 0);
}

static void a_drain_writes_what_is_queued(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 10;
  for (int i = 0; i < 50; i++)
    submit(f, NULL, job_new(f, 3));
  drain(f, 20 * SECOND_US);
  assert_int_equal(f->done_count, 50);
  for (int i = 0; i < 50; i++)
    assert_stored(f->jobs[i]);
  struct job *late = job_new(f, 1);
  assert_int_equal(try_submit(f, NULL, late), ERR_UNAVAILABLE);
  job_free(late);
  assert_int_equal(row_count(f), 150);
}

static void a_drain_gives_up_at_its_deadline(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 1;
  f->config.min_split_events = 1;
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers FOR UPDATE"));
  for (int i = 0; i < 6; i++)
    submit(f, NULL, job_new(f, 1));
  int64_t start_us = now_us(f);
  drain(f, SECOND_US / 5);
  assert_true(now_us(f) < start_us + 3 * SECOND_US);
  PQclear(store_query(&f->store, "COMMIT"));
  assert_int_equal(f->done_count, 8);
  for (int i = 2; i < 8; i++)
    assert_failed(f->jobs[i], GRPC_UNAVAILABLE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      TEST(events_get_dense_places),
      TEST(a_source_keeps_its_order_across_lanes),
      TEST(a_source_in_flight_is_not_taken_by_another_lane),
      TEST(a_request_above_the_batch_size_goes_alone),
      TEST(the_queue_is_split_among_free_lanes),
      TEST(streams_are_split_among_free_lanes),
      TEST(a_repeat_gets_the_first_receipt),
      TEST(repeats_and_new_events_may_be_mixed),
      TEST(other_content_fails_an_atomic_request_as_a_whole),
      TEST(other_content_rejects_one_event_of_a_partial_request),
      TEST(twins_in_one_batch_are_stored_once),
      TEST(a_storm_of_the_same_event_is_stored_once),
      TEST(a_stream_keeps_its_order_around_a_twin),
      TEST(a_chain_of_twins_is_written_at_once),
      TEST(a_chain_of_conflicts_refuses_each_second_request),
      TEST(a_chain_of_conflicts_is_refused_event_by_event),
      TEST(twins_in_one_request_share_a_place),
      TEST(twins_of_other_content_in_one_request_are_a_conflict),
      TEST(a_request_that_expires_in_the_queue_is_not_written),
      TEST(a_deadline_that_passed_is_answered_at_once),
      TEST(a_full_queue_refuses_and_says_when_it_has_room),
      TEST(the_queue_is_bounded_in_bytes),
      TEST(a_cancelled_waiter_is_not_woken),
      TEST(a_drain_writes_what_is_queued),
      TEST(a_drain_gives_up_at_its_deadline),
  };
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
