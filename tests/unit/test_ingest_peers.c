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

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)
  const struct CMUnitTest tests[] = {
      CASE(the_last_lane_is_for_another),
      CASE(a_lane_is_not_kept_for_ever),
      CASE(who_writes_alone_has_all_lanes),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
