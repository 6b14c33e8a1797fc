/* What ingest counts of its work, and its page of metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/metrics.h"
#include "support/ingest_fixture.h"

static void lock_ledgers(struct fixture *f) {
  PQclear(store_query(&f->store, "BEGIN"));
  PQclear(store_query(&f->store, "SELECT * FROM ledgers FOR UPDATE"));
}

static void commit(struct fixture *f) {
  PQclear(store_query(&f->store, "COMMIT"));
}

/* Both lanes have a ledger afterwards, so that locking the ledgers stops both. A batch is one
 * event.
 */
static void use_both_lanes(struct fixture *f) {
  f->config.min_split_events = 1;
  f->config.max_batch_events = 1;
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 2);
}

/* What comes at once is one batch. */
static void use_one_lane(struct fixture *f) {
  f->config.min_split_events = 1000;
}

#define IS_BLOCKED                                                                                 \
  "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auditstore_test'"               \
  " AND wait_event_type = 'Lock'"

static void committed_batches_are_counted_with_their_events_and_times(void **state) {
  struct fixture *f = *state;
  use_one_lane(f);
  for (int i = 0; i < 3; i++)
    submit(f, NULL, job_new(f, 4));
  wait_all(f);
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 2);
  assert_int_equal(histogram_count(&stats.batch_events), 2);
  assert_int_equal(stats.batch_events.sum, 13);
  assert_int_equal(histogram_count(&stats.commit_us), 2);
  assert_true(stats.commit_us.sum > 0);
  assert_int_equal(histogram_count(&stats.queue_us), 4);
  for (int i = INGEST_BATCH_REFUSED; i < INGEST_BATCH_RESULT_COUNT; i++)
    assert_int_equal(stats.batches[i], 0);
  assert_int_equal(stats.retries + stats.bisections, 0);
}

static void the_queue_s_size_goes_up_and_down(void **state) {
  struct fixture *f = *state;
  int64_t bytes = 0;
  for (int i = 0; i < 5; i++)
    bytes += (int64_t)submit(f, NULL, job_new(f, 2))->request.size_bytes;
  assert_int_equal(ingest_stats_of(f).queue_events, 10);
  assert_int_equal(ingest_stats_of(f).queue_bytes, bytes);
  wait_all(f);
  assert_int_equal(ingest_stats_of(f).queue_events, 0);
  assert_int_equal(ingest_stats_of(f).queue_bytes, 0);
}

static void time_in_the_queue_is_measured(void **state) {
  struct fixture *f = *state;
  use_both_lanes(f);
  int64_t before_us = ingest_stats_of(f).queue_us.sum;
  lock_ledgers(f);
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  int64_t from_us = now_us(f);
  while (now_us(f) < from_us + SECOND_US / 10)
    store_turn(&f->store);
  commit(f);
  wait_all(f);
  assert_true(ingest_stats_of(f).queue_us.sum >= before_us + SECOND_US / 10);
}

static void a_repeat_is_a_refused_batch(void **state) {
  struct fixture *f = *state;
  struct job *job = submit(f, NULL, job_new(f, 2));
  wait_all(f);
  submit(f, NULL, repeat(f, job));
  wait_all(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 1);
  assert_int_equal(stats.batches[INGEST_BATCH_REFUSED], 1);
  assert_int_equal(stats.batch_events.sum, 2);
}

static void bisections_are_counted(void **state) {
  struct fixture *f = *state;
  use_one_lane(f);
  PQclear(store_query(&f->store,
                      "ALTER TABLE audit_events ADD CONSTRAINT no_poison"
                      " CHECK (event_type <> 'poison')"));
  struct ingest_source *source = source_new(f);
  for (int i = 0; i < 4; i++) {
    struct job *job = job_new(f, 1);
    if (i == 3)
      job->events[0].text[EVENT_TEXT_EVENT_TYPE] = str_z("poison");
    submit(f, source, job);
  }
  wait_all(f);
  PQclear(store_query(&f->store, "ALTER TABLE audit_events DROP CONSTRAINT no_poison"));
  /* Of 4, of 2 that are good, of the other 2, of each of these. */
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.bisections, 2);
  assert_int_equal(stats.batches[INGEST_BATCH_REFUSED], 3);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 2);
  assert_int_equal(stats.batch_events.sum, 3);
}

static void a_ledger_taken_by_another_is_a_stale_batch(void **state) {
  struct fixture *f = *state;
  use_one_lane(f);
  submit(f, NULL, job_new(f, 2));
  wait_all(f);
  PQclear(store_query(&f->store, "UPDATE ledgers SET owner = gen_random_uuid()"));
  submit(f, NULL, job_new(f, 2));
  wait_all(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.batches[INGEST_BATCH_STALE], 1);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 2);
}

static void a_connection_lost_in_a_write_is_a_lost_batch(void **state) {
  struct fixture *f = *state;
  use_one_lane(f);
  submit(f, NULL, job_new(f, 1));
  wait_all(f);
  lock_ledgers(f);
  submit(f, NULL, job_new(f, 1));
  wait_until(f, IS_BLOCKED);
  PQclear(store_query(&f->store,
                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE application_name = 'auditstore_test'"));
  commit(f);
  wait_all(f);
  struct ingest_stats stats = ingest_stats_of(f);
  assert_int_equal(stats.batches[INGEST_BATCH_LOST], 1);
  assert_int_equal(stats.batches[INGEST_BATCH_COMMITTED], 2);
  assert_true(stats.retries >= 1);
}

static void a_full_queue_counts_calls_refused_and_not_streams_that_wait(void **state) {
  struct fixture *f = *state;
  f->config.max_queue_events = 10;
  struct ingest_source *stream = source_new(f);
  for (int i = 0; i < 5; i++)
    submit(f, NULL, job_new(f, 2));
  struct job *extra = job_new(f, 1);
  assert_int_equal(try_submit(f, stream, extra), ERR_EXHAUSTED);
  assert_int_equal(ingest_stats_of(f).refused[INGEST_REFUSED_QUEUE_FULL], 0);
  assert_int_equal(try_submit(f, NULL, extra), ERR_EXHAUSTED);
  assert_int_equal(ingest_stats_of(f).refused[INGEST_REFUSED_QUEUE_FULL], 1);
  job_free(extra);
  wait_all(f);
}

static void requests_that_expire_in_the_queue_are_counted(void **state) {
  struct fixture *f = *state;
  use_both_lanes(f);
  lock_ledgers(f);
  submit(f, NULL, job_new(f, 1));
  submit(f, NULL, job_new(f, 1));
  wait_until(f, IS_BLOCKED);
  struct job *late = job_new(f, 1);
  late->request.deadline_us = now_us(f) + SECOND_US / 5;
  submit(f, NULL, late);
  store_run_until(&f->store, &late->is_done);
  assert_int_equal(ingest_stats_of(f).refused[INGEST_REFUSED_EXPIRED], 1);
  assert_int_equal(ingest_stats_of(f).queue_events, 0);
  commit(f);
  wait_all(f);
}

static void requests_that_a_drain_turns_away_are_counted(void **state) {
  struct fixture *f = *state;
  use_both_lanes(f);
  lock_ledgers(f);
  for (int i = 0; i < 6; i++)
    submit(f, NULL, job_new(f, 1));
  wait_until(f, IS_BLOCKED);
  assert_int_equal(ingest_stats_of(f).queue_events, 4);
  drain(f, SECOND_US / 10);
  commit(f);
  assert_int_equal(ingest_stats_of(f).refused[INGEST_REFUSED_STOPPING], 4);
  struct job *late = job_new(f, 1);
  assert_int_equal(try_submit(f, NULL, late), ERR_UNAVAILABLE);
  job_free(late);
  assert_int_equal(ingest_stats_of(f).refused[INGEST_REFUSED_STOPPING], 5);
}

static void the_page_shows_each_number_under_its_name(void **state) {
  struct fixture *f = *state;
  struct job *job = submit(f, NULL, job_new(f, 3));
  wait_all(f);
  submit(f, NULL, repeat(f, job));
  wait_all(f);
  submit(f, NULL, job_new(f, 7));
  struct buf buf;
  struct metrics metrics;
  buf_init(&buf, 65536);
  metrics_begin(&metrics, &buf);
  ingest_metrics_write(&metrics, f->ingest);
  assert_true(buf_append(&buf, "", 1));
  const char *page = (const char *)buf_bytes(&buf);
  static const char *const lines[] = {
      "auditstore_ingest_queue_events 7",
      "auditstore_ingest_batches_total{result=\"committed\"} 1",
      "auditstore_ingest_batches_total{result=\"refused\"} 1",
      "auditstore_ingest_batches_total{result=\"stale\"} 0",
      "auditstore_ingest_batches_total{result=\"lost\"} 0",
      "auditstore_ingest_batch_retries_total 0",
      "auditstore_ingest_batch_bisections_total 0",
      "auditstore_ingest_batches_followed_total 0",
      "auditstore_ingest_refused_total{why=\"queue_full\"} 0",
      "auditstore_ingest_refused_total{why=\"expired\"} 0",
      "auditstore_ingest_refused_total{why=\"stopping\"} 0",
      "auditstore_ingest_commit_seconds_count 1",
      "auditstore_ingest_queue_seconds_count 2",
      "auditstore_ingest_batch_events_bucket{le=\"2\"} 0",
      "auditstore_ingest_batch_events_bucket{le=\"4\"} 1",
      "auditstore_ingest_batch_events_sum 3",
  };
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    char line[128];
    snprintf(line, sizeof(line), "\n%s\n", lines[i]);
    if (!strstr(page, line))
      fail_msg("no line \"%s\" in:\n%s", lines[i], page);
  }
  buf_deinit(&buf);
  wait_all(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ingest_setup, ingest_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(committed_batches_are_counted_with_their_events_and_times),
      TEST(the_queue_s_size_goes_up_and_down),
      TEST(time_in_the_queue_is_measured),
      TEST(a_repeat_is_a_refused_batch),
      TEST(bisections_are_counted),
      TEST(a_ledger_taken_by_another_is_a_stale_batch),
      TEST(a_connection_lost_in_a_write_is_a_lost_batch),
      TEST(a_full_queue_counts_calls_refused_and_not_streams_that_wait),
      TEST(requests_that_expire_in_the_queue_are_counted),
      TEST(requests_that_a_drain_turns_away_are_counted),
      TEST(the_page_shows_each_number_under_its_name),
  };
  return cmocka_run_group_tests(tests, ingest_group_setup, ingest_group_teardown);
}
