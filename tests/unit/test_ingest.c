/*
 * Ingest against a real PostgreSQL: order, duplicates, atomicity, faults, bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/timestamp.h"
#include "google/rpc/error_details.pb-c.h"
#include "ingest/ingest.h"
#include "support/store.h"

#define SECOND_US (1000LL * 1000)
#define MAX_JOBS  1000

/* One request of a test and what became of it. */
struct job {
  struct ingest_request request; /* first */
  struct fixture *fixture;
  struct event *events;
  struct grpc_status *failure;
  bool is_done;
  int done_at; /* how many were done before it */
};

struct fixture {
  struct store store;
  struct config_ingest config;
  struct ingest *ingest;
  struct job *jobs[MAX_JOBS];
  int job_count;
  int done_count;
  bool is_drained;
  int wake_count;
  int next_event;
};

/* ---- set up ---- */

static int group_setup(void **state) {
  struct fixture *f = xcalloc(1, sizeof(*f));
  *state = f;
  store_start(&f->store);
  return 0;
}

static int group_teardown(void **state) {
  struct fixture *f = *state;
  store_remove(&f->store);
  free(f);
  return 0;
}

static int setup(void **state) {
  struct fixture *f = *state;
  f->config = (struct config_ingest){
      .lanes = 2,
      .max_request_events = 1000,
      .max_batch_events = 512,
      .max_batch_bytes = 1024 * 1024,
      .min_split_events = 16,
      .max_queue_events = 10000,
      .max_queue_bytes = 64 * 1024 * 1024,
      .write_timeout_us = 20 * SECOND_US,
      .max_event_age_us = CLOCK_NEVER,
      .max_event_ahead_us = CLOCK_NEVER,
  };
  store_open(&f->store);
  f->ingest = ingest_new(&f->store.loop, f->store.pool, f->store.partitions, &f->config);
  f->job_count = f->done_count = f->wake_count = 0;
  f->next_event = 1;
  f->is_drained = false;
  return 0;
}

static void on_drained(void *arg) {
  *(bool *)arg = true;
}

static int64_t now_us(const struct fixture *f) {
  return clock_monotonic_us(f->store.loop.clock);
}

static void drain(struct fixture *f, int64_t patience_us) {
  ingest_drain(f->ingest, now_us(f) + patience_us, on_drained, &f->is_drained);
  store_run_until(&f->store, &f->is_drained);
}

static void job_free(struct job *job) {
  for (int i = 0; i < job->request.count; i++)
    grpc_status_free(job->request.results[i].status);
  grpc_status_free(job->failure);
  free(job->request.results);
  free(job->events);
  free(job);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  if (!f->is_drained)
    drain(f, 10 * SECOND_US);
  assert_int_equal(f->done_count, f->job_count);
  ingest_free(f->ingest);
  for (int i = 0; i < f->job_count; i++)
    job_free(f->jobs[i]);
  store_close(&f->store);
  return 0;
}

/* ---- jobs ---- */

static void on_done(struct ingest_request *request, struct grpc_status *failure) {
  struct job *job = (struct job *)request;
  assert_false(job->is_done);
  job->failure = failure;
  job->is_done = true;
  job->done_at = job->fixture->done_count++;
}

/* `count` new events, atomic, without a deadline. */
static struct job *job_new(struct fixture *f, int count) {
  struct job *job = xcalloc(1, sizeof(*job));
  job->fixture = f;
  job->events = xcalloc((size_t)count, sizeof(*job->events));
  for (int i = 0; i < count; i++)
    job->events[i] = sample_event(f->next_event++);
  job->request = (struct ingest_request){
      .events = job->events,
      .results = xcalloc((size_t)count, sizeof(struct ingest_result)),
      .count = count,
      .is_atomic = true,
      .size_bytes = (size_t)count * 300,
      .deadline_us = CLOCK_NEVER,
      .on_done = on_done,
  };
  return job;
}

static int try_submit(struct fixture *f, struct ingest_source *source, struct job *job) {
  struct error err;
  int rc = ingest_submit(f->ingest, source, &job->request, &err);
  if (rc < 0)
    return rc;
  assert_true(f->job_count < MAX_JOBS);
  f->jobs[f->job_count++] = job;
  return 0;
}

static struct job *submit(struct fixture *f, struct ingest_source *source, struct job *job) {
  assert_int_equal(try_submit(f, source, job), 0);
  return job;
}

static void wait_all(struct fixture *f) {
  int64_t limit_us = now_us(f) + 30 * SECOND_US;
  while (f->done_count < f->job_count) {
    store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  }
}

/* A new request with copies of another's events. */
static struct job *repeat(struct fixture *f, const struct job *original) {
  struct job *job = job_new(f, original->request.count);
  memcpy(job->events, original->events, (size_t)original->request.count * sizeof(struct event));
  return job;
}

static void change(struct event *event) {
  event->text[EVENT_TEXT_RESOURCE_NAME] = str_z("something else");
}

static const struct ingest_result *result(const struct job *job, int index) {
  return &job->request.results[index];
}

static void assert_stored(const struct job *job) {
  assert_true(job->is_done);
  if (job->failure)
    fail_msg("%s", grpc_status_message(job->failure));
  for (int i = 0; i < job->request.count; i++) {
    assert_null(result(job, i)->status);
    assert_true(result(job, i)->ledger_id > 0);
  }
}

static void assert_failed(const struct job *job, enum grpc_code code) {
  assert_true(job->is_done);
  assert_non_null(job->failure);
  if (grpc_status_code(job->failure) != code)
    fail_msg("%s: %s", grpc_code_name((int)grpc_status_code(job->failure)),
             grpc_status_message(job->failure));
}

static int64_t row_count(struct fixture *f) {
  return store_number(&f->store, "SELECT count(*) FROM audit_events");
}

/* The ledgers hold what they say, each place once. */
static void assert_ledgers_are_dense(struct fixture *f) {
  assert_int_equal(
      store_number(&f->store,
                   "SELECT count(*) FROM ledgers l WHERE tree_size <> (SELECT count(*) FROM"
                   " audit_events e WHERE e.ledger_id = l.ledger_id) OR tree_size <> (SELECT"
                   " count(DISTINCT sequence) FROM audit_events e WHERE e.ledger_id = l.ledger_id)"
                   " OR tree_size <> (SELECT coalesce(max(sequence) + 1, 0) FROM audit_events e"
                   " WHERE e.ledger_id = l.ledger_id)"),
      0);
}

/* The row of the event is where its receipt says. */
static void assert_receipt(struct fixture *f, const struct job *job, int index) {
  char sql[256];
  char id[UUID_TEXT_LEN];
  uuid_format(&job->events[index].id, id);
  snprintf(sql, sizeof(sql),
           "SELECT count(*) FROM audit_events WHERE event_id = '%.*s' AND ledger_id = %lld"
           " AND sequence = %lld",
           UUID_TEXT_LEN, id, (long long)result(job, index)->ledger_id,
           (long long)result(job, index)->sequence);
  assert_int_equal(store_number(&f->store, sql), 1);
}

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

static void a_source_keeps_its_order_across_lanes(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 20;
  struct ingest_source *sources[3];
  for (int s = 0; s < 3; s++)
    sources[s] = ingest_source_new(f->ingest);
  for (int i = 0; i < 300; i++) {
    submit(f, sources[i % 3], job_new(f, 1 + i % 5));
    submit(f, NULL, job_new(f, 1));
    if (i % 20 == 0)
      store_turn(&f->store);
  }
  wait_all(f);
  bool has_moved = false;
  for (int i = 0; i + 6 < f->job_count; i++) {
    const struct job *job = f->jobs[i];
    const struct job *next = f->jobs[i + 6]; /* of the same source */
    assert_stored(job);
    if (i % 2 == 1)
      continue;
    assert_true(job->done_at < next->done_at);
    if (result(job, 0)->ledger_id == result(next, 0)->ledger_id)
      assert_true(result(job, 0)->sequence < result(next, 0)->sequence);
    else
      has_moved = true;
  }
  assert_true(has_moved);
  assert_ledgers_are_dense(f);
  for (int s = 0; s < 3; s++)
    ingest_source_free(sources[s]);
}

static void a_source_in_flight_is_not_taken_by_another_lane(void **state) {
  struct fixture *f = *state;
  struct ingest_source *source = ingest_source_new(f->ingest);
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
  ingest_source_free(source);
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
    assert_int_equal(result(second, i)->committed_us, first->request.received_us);
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
  struct ingest_source *source = ingest_source_new(f->ingest);
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
  ingest_source_free(source);
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
  struct ingest_source *source = ingest_source_new(f->ingest);
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
  ingest_source_free(source);
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
    assert_int_equal(result(job, i)->committed_us, job->request.received_us);
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
  struct ingest_source *source = ingest_source_new(f->ingest);
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
    assert_failed(f->jobs[i], GRPC_INTERNAL);
    assert_non_null(strstr(grpc_status_message(f->jobs[i]->failure), "23514"));
    assert_non_null(strstr(grpc_status_message(f->jobs[i]->failure), "no_poison"));
  }
  assert_int_equal(row_count(f), 38 * 3);
  assert_ledgers_are_dense(f);
  ingest_source_free(source);
}

static void a_missing_table_is_an_internal_error(void **state) {
  struct fixture *f = *state;
  PQclear(store_query(&f->store, "ALTER TABLE ledgers RENAME TO gone"));
  struct job *job = submit(f, NULL, job_new(f, 1));
  wait_all(f);
  PQclear(store_query(&f->store, "ALTER TABLE gone RENAME TO ledgers"));
  assert_failed(job, GRPC_INTERNAL);
}

/* ---- other writers and lost connections ---- */

static void a_ledger_advanced_by_another_is_read_anew(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 100;
  submit(f, NULL, job_new(f, 2));
  wait_all(f);
  PQclear(store_query(&f->store, "UPDATE ledgers SET tree_size = tree_size + 5"));
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  assert_stored(job);
  assert_int_equal(result(job, 0)->sequence, 7);
  assert_false(result(job, 0)->is_duplicate);
  assert_int_equal(row_count(f), 4);
}

static void kill_backends(struct fixture *f) {
  PQclear(store_query(&f->store,
                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE application_name = 'auditstore_test'"));
}

static void killed_connections_lose_and_double_nothing(void **state) {
  struct fixture *f = *state;
  f->config.max_batch_events = 40;
  struct ingest_source *source = ingest_source_new(f->ingest);
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
  ingest_source_free(source);
}

static void wait_for_event(struct fixture *f, const char *wait_event) {
  char sql[256];
  snprintf(sql, sizeof(sql),
           "SELECT count(*) FROM pg_stat_activity WHERE wait_event = '%s'"
           " AND application_name = 'auditstore_test'",
           wait_event);
  int64_t limit_us = now_us(f) + 20 * SECOND_US;
  while (store_number(&f->store, sql) == 0) {
    store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  }
}

static void set_standby(struct fixture *f, const char *name) {
  char sql[128];
  snprintf(sql, sizeof(sql), "ALTER SYSTEM SET synchronous_standby_names = '%s'", name);
  PQclear(store_query(&f->store, sql));
  PQclear(store_query(&f->store, "SELECT pg_reload_conf()"));
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

static void lock_ledger(struct fixture *f) {
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers WHERE ledger_id = 1 FOR UPDATE"));
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
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(events_get_dense_places),
      TEST(a_source_keeps_its_order_across_lanes),
      TEST(a_source_in_flight_is_not_taken_by_another_lane),
      TEST(a_request_above_the_batch_size_goes_alone),
      TEST(the_queue_is_split_among_free_lanes),
      TEST(a_repeat_gets_the_first_receipt),
      TEST(repeats_and_new_events_may_be_mixed),
      TEST(other_content_fails_an_atomic_request_as_a_whole),
      TEST(other_content_rejects_one_event_of_a_partial_request),
      TEST(twins_in_one_batch_are_stored_once),
      TEST(a_storm_of_the_same_event_is_stored_once),
      TEST(a_stream_keeps_its_order_around_a_twin),
      TEST(twins_in_one_request_share_a_place),
      TEST(twins_of_other_content_in_one_request_are_a_conflict),
      TEST(months_are_made_on_demand),
      TEST(a_month_that_was_dropped_is_made_again),
      TEST(one_refused_row_fails_its_request_only),
      TEST(a_missing_table_is_an_internal_error),
      TEST(a_ledger_advanced_by_another_is_read_anew),
      TEST(killed_connections_lose_and_double_nothing),
      TEST(a_commit_whose_answer_was_lost_is_found),
      TEST(a_write_lost_before_its_commit_is_sent_again),
      TEST(an_outcome_not_found_out_in_time_is_said_to_be_unknown),
      TEST(a_stopped_server_is_answered_in_time_and_used_again),
      TEST(a_commit_survives_a_crash_of_the_server),
      TEST(a_request_that_expires_in_the_queue_is_not_written),
      TEST(a_deadline_that_passed_is_answered_at_once),
      TEST(a_full_queue_refuses_and_says_when_it_has_room),
      TEST(the_queue_is_bounded_in_bytes),
      TEST(a_cancelled_waiter_is_not_woken),
      TEST(a_drain_writes_what_is_queued),
      TEST(a_drain_gives_up_at_its_deadline),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
