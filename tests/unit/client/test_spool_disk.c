/* The publisher's spool on a disk that fails: fdatasync(2) is this program's own. */
#include "spool_fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int syncs_until_fault = -1; /* negative: none */
static atomic_bool is_slow;

int fdatasync(int fd) {
  if (is_slow)
    poll(NULL, 0, 200);
  if (syncs_until_fault >= 0 && syncs_until_fault-- == 0) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fdatasync, fd);
}

static void an_event_whose_sync_failed_is_not_taken_and_the_next_one_begins_anew(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  store_server_leave(w->server);
  start(w);
  publish_range(w, 0, 3);
  syncs_until_fault = 0;
  assert_int_equal(auditstore_publisher_publish(w->publisher, event_init(&e, 99), 99, &status),
                   AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "fsync failed"));
  auditstore_status_deinit(&status);
  publish_range(w, 3, 6);
  struct auditstore_publisher_counters c = counters(w);
  assert_int_equal(c.spool_sync_failures, 1);
  assert_int_equal(c.spool_segments, 2);
  assert_int_equal(c.refused, 1);
  assert_int_equal(c.taken, 6);
  close_publisher(w, 6);
  start(w);
  assert_int_equal(counters(w).replayed, 6);
  close_publisher(w, 6);
  send_all(w);
  expect_stored_in_order(w, 6);
}

static void sending_goes_on_over_a_segment_that_was_given_up(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 3);
  syncs_until_fault = 0;
  assert_int_equal(publish(w, 99), AUDITSTORE_UNAVAILABLE);
  publish_range(w, 3, 6);
  flush_all(w);
  expect_stored_in_order(w, 6);
}

struct waiter {
  struct world *world;
  pthread_t thread;
  enum auditstore_code code;
};

static void *publish_one(void *arg) {
  struct waiter *waiter = arg;
  waiter->code = publish(waiter->world, 0);
  return NULL;
}

/* One sync is under way, behind it others wait for the next, which fails. */
static void all_who_wait_for_a_sync_that_fails_are_told(void **state) {
  struct world *w = *state;
  struct waiter waiters[6];
  size_t failed = 0;
  start(w);
  publish_range(w, 0, 1);
  flush_all(w);
  is_slow = true;
  syncs_until_fault = 1;
  for (size_t i = 0; i < 6; i++) {
    waiters[i] = (struct waiter){.world = w};
    pthread_create(&waiters[i].thread, NULL, publish_one, &waiters[i]);
  }
  for (size_t i = 0; i < 6; i++) {
    pthread_join(waiters[i].thread, NULL);
    failed += waiters[i].code == AUDITSTORE_UNAVAILABLE;
    assert_true(waiters[i].code == AUDITSTORE_UNAVAILABLE || waiters[i].code == AUDITSTORE_OK);
  }
  is_slow = false;
  syncs_until_fault = -1;
  flush_all(w);
  assert_int_equal(counters(w).refused, failed);
  assert_int_equal(counters(w).acknowledged, 7 - failed);
  assert_int_equal(store_server_stored(w->server), 7 - failed);
}

static void a_sync_that_takes_too_long_is_said_not_to_be_known(void **state) {
  struct world *w = *state;
  struct waiter other = {.world = w};
  w->options.timeout_ms = 5;
  start(w);
  publish_range(w, 0, 1);
  uint64_t bytes = counters(w).spool_bytes;
  is_slow = true;
  pthread_create(&other.thread, NULL, publish_one, &other);
  WAIT_FOR(counters(w).spool_bytes > bytes);
  assert_int_equal(publish(w, 1), AUDITSTORE_DEADLINE_EXCEEDED);
  is_slow = false;
  pthread_join(other.thread, NULL);
  assert_int_equal(counters(w).refused, 0);
}

static void unsynced_events_are_sent_though_a_sync_failed(void **state) {
  struct world *w = *state;
  w->options.spool_unsynced_ms = 10;
  store_server_leave(w->server);
  start(w);
  syncs_until_fault = 1; /* the first one is the segment's own */
  publish_range(w, 0, 5);
  WAIT_FOR(counters(w).spool_sync_failures == 1);
  publish_range(w, 5, 9);
  store_server_return(w->server);
  flush_all(w);
  expect_stored_in_order(w, 9);
}

static void a_segment_that_cannot_be_begun_refuses(void **state) {
  struct world *w = *state;
  start(w);
  syncs_until_fault = 0;
  assert_int_equal(publish(w, 99), AUDITSTORE_UNAVAILABLE);
  publish_range(w, 0, 3);
  flush_all(w);
  expect_stored_in_order(w, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      SPOOL_TEST(an_event_whose_sync_failed_is_not_taken_and_the_next_one_begins_anew),
      SPOOL_TEST(sending_goes_on_over_a_segment_that_was_given_up),
      SPOOL_TEST(all_who_wait_for_a_sync_that_fails_are_told),
      SPOOL_TEST(a_sync_that_takes_too_long_is_said_not_to_be_known),
      SPOOL_TEST(unsynced_events_are_sent_though_a_sync_failed),
      SPOOL_TEST(a_segment_that_cannot_be_begun_refuses),
  };
  return cmocka_run_group_tests_name("spool_disk", tests, NULL, NULL);
}
