/* Lanes among connections: while several write, none has all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ingest_fixture.h"

enum { ONE = 1, OTHER };

static struct job *submit_of(struct fixture *f, uint64_t peer) {
  struct job *job = job_new(f, 1);
  job->request.peer = peer;
  return submit(f, NULL, job);
}

/* So lately that it counts for what follows. */
static void write_by_the_other(struct fixture *f) {
  int64_t start_us = 0;
  do {
    start_us = now_us(f);
    submit_of(f, OTHER);
    wait_all(f);
  } while (now_us(f) - start_us > SECOND_US / 4);
}

/* Two requests of one connection, the first of which waits for its ledger, and one of another. */
static void write_three(struct fixture *f, struct job *ret_jobs[3]) {
  lock_ledger(f);
  ret_jobs[0] = submit_of(f, ONE);
  ret_jobs[1] = submit_of(f, ONE);
  store_turn(&f->store);
  ret_jobs[2] = submit_of(f, OTHER);
  store_run_until(&f->store, &ret_jobs[2]->is_done);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
  for (int i = 0; i < 3; i++)
    assert_stored(ret_jobs[i]);
}

static void the_last_lane_is_for_another(void **state) {
  struct fixture *f = *state;
  struct job *jobs[3];
  f->config.min_split_events = 1;
  write_by_the_other(f);
  write_three(f, jobs);
  assert_true(jobs[2]->done_at < jobs[1]->done_at);
}

/* The first waits for its ledger, and nothing else happens until PostgreSQL ends that wait. */
static void a_lane_is_not_kept_for_ever(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 1;
  write_by_the_other(f);
  lock_ledger(f);
  int64_t start_us = now_us(f);
  const struct job *first = submit_of(f, ONE);
  const struct job *second = submit_of(f, ONE);
  store_run_until(&f->store, &second->is_done);
  assert_false(first->is_done);
  assert_true(now_us(f) - start_us < f->store.database.lock_timeout_us);
  assert_stored(second);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
}

static void who_writes_alone_has_all_lanes(void **state) {
  struct fixture *f = *state;
  struct job *jobs[3];
  f->config.min_split_events = 1;
  submit_of(f, ONE);
  wait_all(f);
  write_three(f, jobs);
  assert_true(jobs[1]->done_at < jobs[2]->done_at);
}

/* Events of nobody's among them don't make it another's batch. */
static void a_batch_is_whose_most_events_are(void **state) {
  struct fixture *f = *state;
  f->config.min_split_events = 3; /* which go together */
  write_by_the_other(f);
  lock_ledger(f);
  struct ingest_source *source = source_new(f);
  for (int i = 0; i < 3; i++) {
    struct job *job = job_new(f, 1);
    job->request.peer = i == 1 ? 0 : ONE;
    submit(f, source, job);
  }
  store_turn(&f->store);
  const struct job *next = submit_of(f, ONE);
  store_turn(&f->store);
  const struct job *other = submit_of(f, OTHER);
  store_run_until(&f->store, &other->is_done);
  PQclear(store_query(&f->store, "COMMIT"));
  wait_all(f);
  assert_true(other->done_at < next->done_at);
}

/* ---- room in the queue ---- */

static int fill(struct fixture *f, uint64_t peer) {
  for (int count = 0;; count++) {
    struct job *job = job_new(f, 1);
    job->request.peer = peer;
    if (try_submit(f, NULL, job) == 0)
      continue;
    job_free(job);
    return count;
  }
}

static void the_last_eighth_is_for_those_who_have_little(void **state) {
  struct fixture *f = *state;
  f->config.max_queue_events = 128;
  write_by_the_other(f);
  assert_int_equal(fill(f, ONE), 128 / 8 * 7);
  assert_int_equal(fill(f, OTHER), 2);
  assert_int_equal(fill(f, OTHER + 1), 2);
  assert_int_equal(fill(f, ONE), 0);
  wait_all(f);
}

static void who_writes_alone_has_the_whole_queue(void **state) {
  struct fixture *f = *state;
  f->config.max_queue_events = 128;
  assert_int_equal(fill(f, ONE), 128);
  wait_all(f);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      CASE(the_last_lane_is_for_another),
      CASE(a_lane_is_not_kept_for_ever),
      CASE(who_writes_alone_has_all_lanes),
      CASE(a_batch_is_whose_most_events_are),
      CASE(the_last_eighth_is_for_those_who_have_little),
      CASE(who_writes_alone_has_the_whole_queue),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
