#include "support/ingest_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ingest/proofs.h"

/* ---- set up ---- */

int ingest_group_setup(void **state) {
  struct fixture *f = xcalloc(1, sizeof(*f));
  *state = f;
  store_start(&f->store);
  return 0;
}

int ingest_group_teardown(void **state) {
  struct fixture *f = *state;
  store_remove(&f->store);
  free(f);
  return 0;
}

static int setup(struct fixture *f, int lanes) {
  f->config = (struct config_ingest){
      .lanes = lanes,
      .max_request_events = 1000,
      .max_batch_events = 512,
      .max_batch_bytes = 1024LL * 1024,
      .max_event_data_bytes = 256LL * 1024,
      .min_split_events = 16,
      .max_queue_events = 10000,
      .max_queue_bytes = 64LL * 1024LL * 1024,
      .write_timeout_us = 20 * SECOND_US,
      .max_event_age_us = CLOCK_NEVER,
      .max_event_ahead_us = CLOCK_NEVER,
  };
  store_open(&f->store);
  f->ledger = (struct config_ledger){.origin = "test", .lease_us = 10LL * CLOCK_US_PER_S};
  f->signer = (struct checkpoint_signer){.origin = f->ledger.origin};
  f->memory = ledger_memory_new(&f->store.loop);
  f->ingest = ingest_new(&f->store.loop, &(struct ingest_options){.pool = f->store.pool,
                                                                  .partitions = f->store.partitions,
                                                                  .config = &f->config,
                                                                  .ledger = &f->ledger,
                                                                  .signer = &f->signer,
                                                                  .memory = f->memory});
  f->job_count = f->source_count = f->done_count = f->wake_count = 0;
  f->next_event = 1;
  f->is_drained = false;
  return 0;
}

int ingest_setup(void **state) {
  return setup(*state, 2);
}

int ingest_setup_of_three(void **state) {
  return setup(*state, 3);
}

static void on_drained(void *arg) {
  *(bool *)arg = true;
}

static void on_memory_closed(void *arg, const struct error *err) {
  (void)err;
  *(bool *)arg = true;
}

int64_t now_us(const struct fixture *f) {
  return clock_monotonic_us(f->store.loop.clock);
}

void drain(struct fixture *f, int64_t patience_us) {
  ingest_drain(f->ingest, now_us(f) + patience_us, on_drained, &f->is_drained);
  store_run_until(&f->store, &f->is_drained);
}

void job_free(struct job *job) {
  for (int i = 0; i < job->request.count; i++)
    grpc_status_free(job->request.results[i].status);
  grpc_status_free(job->failure);
  proofs_free(job->request.proofs);
  free(job->request.results);
  free(job->events);
  free(job);
}

int ingest_teardown(void **state) {
  struct fixture *f = *state;
  if (!f->is_drained)
    drain(f, 10 * SECOND_US);
  assert_int_equal(f->done_count, f->job_count);
  for (int i = 0; i < f->source_count; i++)
    ingest_source_free(f->sources[i]);
  ingest_free(f->ingest);
  f->is_drained = false;
  ledger_memory_close(f->memory, on_memory_closed, &f->is_drained);
  store_run_until(&f->store, &f->is_drained);
  for (int i = 0; i < f->job_count; i++)
    job_free(f->jobs[i]);
  store_close(&f->store);
  return 0;
}

/* Freed at the end of the test. */
struct ingest_source *source_new(struct fixture *f) {
  assert_true(f->source_count < MAX_SOURCES);
  return f->sources[f->source_count++] = ingest_source_new(f->ingest);
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
struct job *job_new(struct fixture *f, int count) {
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

int try_submit(struct fixture *f, struct ingest_source *source, struct job *job) {
  int rc = ingest_submit(f->ingest, source, &job->request);
  if (rc < 0)
    return rc;
  assert_true(f->job_count < MAX_JOBS);
  f->jobs[f->job_count++] = job;
  return 0;
}

struct job *submit(struct fixture *f, struct ingest_source *source, struct job *job) {
  assert_int_equal(try_submit(f, source, job), 0);
  return job;
}

void wait_all(struct fixture *f) {
  int64_t limit_us = now_us(f) + 30 * SECOND_US;
  while (f->done_count < f->job_count) {
    store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  }
}

/* A new request with copies of another's events. */
struct job *repeat(struct fixture *f, const struct job *original) {
  struct job *job = job_new(f, original->request.count);
  memcpy(job->events, original->events, (size_t)original->request.count * sizeof(struct event));
  return job;
}

void change(struct event *event) {
  event->text[EVENT_TEXT_RESOURCE_NAME] = str_z("something else");
}

const struct ingest_result *result(const struct job *job, int index) {
  return &job->request.results[index];
}

void assert_stored(const struct job *job) {
  assert_true(job->is_done);
  if (job->failure)
    fail_msg("%s", grpc_status_message(job->failure));
  for (int i = 0; i < job->request.count; i++) {
    assert_null(result(job, i)->status);
    assert_true(result(job, i)->ledger_id > 0);
  }
}

void assert_failed(const struct job *job, enum grpc_code code) {
  assert_true(job->is_done);
  assert_non_null(job->failure);
  if (grpc_status_code(job->failure) != code)
    fail_msg("%s: %s", grpc_code_name((int)grpc_status_code(job->failure)),
             grpc_status_message(job->failure));
}

struct ingest_stats ingest_stats_of(const struct fixture *f) {
  struct ingest_stats stats;
  ingest_stats(f->ingest, &stats);
  return stats;
}

int64_t row_count(struct fixture *f) {
  return store_number(&f->store, "SELECT count(*) FROM audit_events");
}

/* The ledgers hold what they say, each place once. */
void assert_ledgers_are_dense(struct fixture *f) {
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
void assert_receipt(struct fixture *f, const struct job *job, int index) {
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

/* ---- the server, from another session ---- */

void kill_backends(struct fixture *f) {
  PQclear(store_query(&f->store,
                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE application_name = 'auditstore_test'"));
}

/* `what` of ingest's backends that wait for that. */
static PGresult *ask_about_waiting(struct fixture *f, const char *what, const char *wait_event) {
  char sql[256];
  snprintf(sql, sizeof(sql),
           "SELECT %s FROM pg_stat_activity WHERE wait_event = '%s'"
           " AND application_name = 'auditstore_test'",
           what, wait_event);
  /* Otherwise a transaction sees only the backends that it saw first. */
  PQclear(store_query(&f->store, "SELECT pg_stat_clear_snapshot()"));
  return store_query(&f->store, sql);
}

void kill_waiting(struct fixture *f, const char *wait_event) {
  PQclear(ask_about_waiting(f, "pg_terminate_backend(pid)", wait_event));
}

int64_t count_waiting(struct fixture *f, const char *wait_event) {
  PGresult *result = ask_about_waiting(f, "1", wait_event);
  int64_t count = PQntuples(result);
  PQclear(result);
  return count;
}

void wait_for_event(struct fixture *f, const char *wait_event) {
  int64_t limit_us = now_us(f) + 20 * SECOND_US;
  while (count_waiting(f, wait_event) == 0) {
    store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  }
}

void wait_until(struct fixture *f, const char *sql) {
  int64_t limit_us = now_us(f) + 20 * SECOND_US;
  while (store_number(&f->store, sql) == 0) {
    /* Inside a transaction the statistics would stay what they were. */
    PQclear(store_query(&f->store, "SELECT pg_stat_clear_snapshot()"));
    store_turn(&f->store);
    assert_true(now_us(f) < limit_us);
  }
}

void set_standby(struct fixture *f, const char *name) {
  char sql[128];
  snprintf(sql, sizeof(sql), "ALTER SYSTEM SET synchronous_standby_names = '%s'", name);
  PQclear(store_query(&f->store, sql));
  PQclear(store_query(&f->store, "SELECT pg_reload_conf()"));
}

void lock_ledger(struct fixture *f) {
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers WHERE ledger_id = 1 FOR UPDATE"));
}
