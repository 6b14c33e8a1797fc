/* The publisher's spool on a disk that fails: fdatasync(2) is this program's own. */
#include "spool_fixture.h"

#include "spool.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int syncs_until_fault = -1; /* negative: none */
static atomic_bool is_slow;

/* ---- what a power loss leaves ---- */

static pthread_mutex_t synced_lock = PTHREAD_MUTEX_INITIALIZER;
static struct synced {
  ino_t file;
  off_t size;
} synced[64];
static size_t synced_count;

static void note_synced(const struct stat *st) {
  size_t i = 0;
  pthread_mutex_lock(&synced_lock);
  while (i < synced_count && synced[i].file != st->st_ino)
    i++;
  if (i == synced_count)
    synced_count++;
  assert_true(synced_count < 64);
  synced[i] = (struct synced){st->st_ino, st->st_size};
  pthread_mutex_unlock(&synced_lock);
}

static off_t synced_size(ino_t file) {
  off_t size = SPOOL_HEADER_BYTES; /* no segment is there without it */
  pthread_mutex_lock(&synced_lock);
  for (size_t i = 0; i < synced_count; i++)
    if (synced[i].file == file)
      size = synced[i].size;
  pthread_mutex_unlock(&synced_lock);
  return size;
}

/* Cuts each segment to what it had when this program last began to sync it. */
static void lose_power(const struct world *w) {
  char path[512];
  struct stat st;
  DIR *folder = opendir(w->spool);
  const struct dirent *entry = NULL;
  while ((entry = readdir(folder))) {
    if (!strstr(entry->d_name, ".segment"))
      continue;
    snprintf(path, sizeof(path), "%s/%s", w->spool, entry->d_name);
    assert_int_equal(stat(path, &st), 0);
    off_t size = synced_size(st.st_ino);
    assert_int_equal(truncate(path, size < st.st_size ? size : st.st_size), 0);
  }
  closedir(folder);
}

/* ---- a gate in front of the disk ---- */

static atomic_bool is_shut;
static atomic_llong shut_for_size; /* of files of this size only; 0: of all */
static atomic_int waiting_at_gate;

/* Up to ten seconds: a program that hangs at it goes on, and the test sees that it is open. */
static void pass_gate(const struct stat *st) {
  if (!is_shut || (shut_for_size > 0 && st->st_size != shut_for_size))
    return;
  waiting_at_gate++;
  for (int waited = 0; is_shut && waited < 10000; waited += 2)
    poll(NULL, 0, 2);
  is_shut = false;
  waiting_at_gate--;
}

int fdatasync(int fd) {
  struct stat st;
  if (fstat(fd, &st) == 0) {
    note_synced(&st);
    pass_gate(&st);
  }
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

struct closer {
  struct world *world;
  pthread_t thread;
  atomic_bool is_over;
};

static void *close_now(void *arg) {
  struct closer *closer = arg;
  auditstore_publisher_close(closer->world->publisher, 0);
  closer->is_over = true;
  return NULL;
}

static enum auditstore_code publish_sized(struct world *w, uint64_t number, size_t bytes) {
  struct event e;
  char *data = calloc(1, bytes + 1);
  memset(data, ' ', bytes);
  event_init(&e, number);
  e.event.event_data = data;
  enum auditstore_code code = auditstore_publisher_publish(w->publisher, &e.event, number, NULL);
  free(data);
  return code;
}

static void *publish_sized_one(void *arg) {
  struct waiter *waiter = arg;
  waiter->code = publish_sized(waiter->world, 10, 30000);
  return NULL;
}

/* Ten events are in memory and one is on its way to the disk when the publisher is closed. */
static void check_close_during_sync(struct world *w, size_t bytes) {
  struct waiter waiter = {.world = w};
  struct closer closer = {.world = w};
  store_server_leave(w->server);
  w->options.when_full = AUDITSTORE_FULL_SPILL;
  w->options.max_queue_events = 10;
  w->options.max_batch_events = 1;
  w->options.max_batch_bytes = 32 * 1024;
  w->options.spool_max_bytes = 256 * 1024;
  start(w);
  for (uint64_t i = 0; i < 10; i++)
    assert_int_equal(publish_sized(w, i, bytes), AUDITSTORE_OK);
  shut_for_size = 0;
  is_shut = true;
  pthread_create(&waiter.thread, NULL, publish_sized_one, &waiter);
  WAIT_FOR(waiting_at_gate == 1);
  pthread_create(&closer.thread, NULL, close_now, &closer);
  /* It mustn't be over before the disk is; it is given some time to be. */
  for (int waited = 0; !closer.is_over && waited < 500; waited += 2)
    poll(NULL, 0, 2);
  is_shut = false;
  pthread_join(waiter.thread, NULL);
  pthread_join(closer.thread, NULL);
  assert_int_equal(waiter.code, AUDITSTORE_OK);
  close_publisher(w, 11);
  lose_power(w);
  w->options.max_queue_events = 0;
  start(w);
  assert_int_equal(counters(w).replayed, 11);
}

static void close_during_a_sync_leaves_nothing_unsynced(void **state) {
  check_close_during_sync(*state, 100);
}

static void close_during_a_sync_leaves_no_segment_unsynced(void **state) {
  check_close_during_sync(*state, 6000);
}

static void what_a_killed_program_left_survives_a_power_loss_afterwards(void **state) {
  struct world *w = *state;
  w->options.spool_unsynced_ms = 60000;
  kill_child(w, 100);
  store_server_leave(w->server);
  start(w);
  publish_range(w, 100, 101);
  close_publisher(w, 101);
  lose_power(w);
  send_all(w);
  expect_stored_in_order(w, 101);
}

static void what_a_killed_program_left_must_be_synced(void **state) {
  struct world *w = *state;
  kill_child(w, 3);
  syncs_until_fault = 0;
  expect_no_start(w, AUDITSTORE_UNAVAILABLE, "0000000000000001.segment: can't be synced");
  start(w);
  flush_all(w);
  expect_stored_in_order(w, 3);
}

/* So that a segment can be deleted, the place behind it is synced. */
static void publish_does_not_wait_for_the_place_to_be_synced(void **state) {
  struct world *w = *state;
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_OPEN;
  w->options.spool_max_bytes = 128 * 1024;
  w->options.max_batch_bytes = 32 * 1024;
  start(w);
  shut_for_size = 24; /* of `acknowledged` */
  is_shut = true;
  for (uint64_t i = 0; i < 4; i++)
    assert_int_equal(publish_sized(w, i, 10000), AUDITSTORE_OK);
  WAIT_FOR(waiting_at_gate == 1);
  assert_int_equal(publish_sized(w, 4, 100), AUDITSTORE_OK);
  assert_int_equal(counters(w).refused, 0);
  assert_true(is_shut);
  is_shut = false;
  flush_all(w);
  expect_stored_in_order(w, 5);
  close_publisher(w, 0);
  assert_int_equal(count_segments(w), 0);
}

static int setup_disk(void **state) {
  synced_count = 0; /* files of old may have had the same inodes */
  is_shut = is_slow = false;
  syncs_until_fault = -1;
  return setup_spool(state);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, setup_disk, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      DISK_TEST(an_event_whose_sync_failed_is_not_taken_and_the_next_one_begins_anew),
      DISK_TEST(sending_goes_on_over_a_segment_that_was_given_up),
      DISK_TEST(all_who_wait_for_a_sync_that_fails_are_told),
      DISK_TEST(a_sync_that_takes_too_long_is_said_not_to_be_known),
      DISK_TEST(unsynced_events_are_sent_though_a_sync_failed),
      DISK_TEST(a_segment_that_cannot_be_begun_refuses),
      DISK_TEST(close_during_a_sync_leaves_nothing_unsynced),
      DISK_TEST(close_during_a_sync_leaves_no_segment_unsynced),
      DISK_TEST(what_a_killed_program_left_survives_a_power_loss_afterwards),
      DISK_TEST(what_a_killed_program_left_must_be_synced),
      DISK_TEST(publish_does_not_wait_for_the_place_to_be_synced),
  };
  return cmocka_run_group_tests_name("spool_disk", tests, NULL, NULL);
}
