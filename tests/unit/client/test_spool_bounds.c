/* The publisher's spool: how large it gets, a disk without room, what the store refuses for good.
 */
#include "spool_fixture.h"

#include <sys/resource.h>

/* ---- bounds ---- */

static void a_full_spool_refuses_and_says_so(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  uint64_t taken = 0;
  store_server_leave(w->server);
  w->options.spool_max_bytes = 128 * 1024;
  w->options.when_full = AUDITSTORE_FULL_REFUSE;
  w->options.spool_unsynced_ms = 1;
  start(w);
  while (taken < 5000 && publish(w, taken) == AUDITSTORE_OK)
    taken++;
  assert_in_range(taken, 500, 2000);
  assert_int_equal(auditstore_publisher_publish(w->publisher, event_init(&e, taken), 0, &status),
                   AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_non_null(strstr(status.message, "is full (spool_max_bytes)"));
  auditstore_status_deinit(&status);
  assert_true(counters(w).spool_bytes <= 128 * 1024);
  assert_true(counters(w).queue_events < 500);
  store_server_return(w->server);
  flush_all(w);
  assert_int_equal(publish(w, taken), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, taken + 1);
}

static void a_full_spool_blocks_until_there_is_room(void **state) {
  struct world *w = *state;
  w->options.spool_max_bytes = 128 * 1024;
  start(w);
  publish_in_arrays(w, 0, 4000);
  flush_all(w);
  expect_stored_in_order(w, 4000);
  assert_int_equal(counters(w).refused, 0);
}

static void what_is_settled_makes_room(void **state) {
  struct world *w = *state;
  w->options.spool_max_bytes = 128 * 1024;
  w->options.when_full = AUDITSTORE_FULL_REFUSE;
  start(w);
  /* Each takes more than half of it. */
  for (uint64_t i = 0; i < 5; i++) {
    assert_int_equal(publish_array(w, i * 900, 900), AUDITSTORE_OK);
    flush_all(w);
  }
  expect_stored_in_order(w, 4500);
}

static void memory_overflows_into_the_spool_in_order(void **state) {
  struct world *w = *state;
  store_server_leave(w->server);
  w->options.when_full = AUDITSTORE_FULL_SPILL;
  w->options.max_queue_events = 50;
  start(w);
  publish_range(w, 0, 50);
  assert_int_equal(counters(w).spool_bytes, 0);
  publish_range(w, 50, 500);
  assert_int_equal(counters(w).queue_events, 50);
  assert_true(counters(w).spool_bytes > 0);
  store_server_return(w->server);
  publish_range(w, 500, 700);
  flush_all(w);
  expect_stored_in_order(w, 700);
  expect_told(w, 700);
  uint64_t syncs = counters(w).spool_syncs;
  publish_range(w, 700, 701);
  flush_all(w);
  assert_int_equal(counters(w).spool_syncs, syncs);
}

static void close_saves_what_is_in_memory_alone(void **state) {
  struct world *w = *state;
  store_server_leave(w->server);
  w->options.when_full = AUDITSTORE_FULL_SPILL;
  w->options.max_queue_events = 50;
  start(w);
  publish_range(w, 0, 70);
  close_publisher(w, 70);
  store_server_return(w->server);
  start(w);
  assert_int_equal(counters(w).replayed, 70);
  flush_all(w);
  assert_int_equal(store_server_stored(w->server), 70);
  expect_told(w, 70);
}

/* An array of several batches counts for the queue as one. */
static void close_saves_all_batches_of_an_array(void **state) {
  struct world *w = *state;
  store_server_leave(w->server);
  w->options.when_full = AUDITSTORE_FULL_SPILL;
  w->options.max_batch_events = 10;
  start(w);
  assert_int_equal(publish_array(w, 0, 100), AUDITSTORE_OK);
  close_publisher(w, 100);
  send_all(w);
  assert_int_equal(counters(w).replayed, 100);
  assert_int_equal(store_server_stored(w->server), 100);
}

/* More than five are too many; the others get no answer. */
static void take_five_in_silence(void *arg, size_t number,
                                 const Auditstore__V1__StreamEventsRequest *batch,
                                 struct store_reply *reply) {
  const struct world *w = arg;
  (void)number;
  if (w->limit == 0)
    return;
  reply->action = batch->n_events > 5 ? STORE_REFUSE : STORE_IGNORE;
  reply->code = AUDITSTORE_INVALID_ARGUMENT;
  reply->field = "events";
}

static void close_saves_both_halves_of_a_batch(void **state) {
  struct world *w = *state;
  w->script = take_five_in_silence;
  w->limit = 5;
  w->options.when_full = AUDITSTORE_FULL_SPILL;
  start(w);
  assert_int_equal(publish_array(w, 0, 8), AUDITSTORE_OK);
  WAIT_FOR(counters(w).halved > 0);
  close_publisher(w, 8);
  store_server_leave(w->server);
  w->limit = 0;
  send_all(w);
  assert_int_equal(counters(w).replayed, 8);
  assert_int_equal(store_server_stored(w->server), 8);
}

static void fail_closed_is_ok_when_the_disk_has_it(void **state) {
  struct world *w = *state;
  store_server_leave(w->server);
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  start(w);
  publish_range(w, 0, 20);
  assert_true(counters(w).spool_syncs >= 20);
  close_publisher(w, 20);
  send_all(w);
  expect_stored_in_order(w, 20);
}

static void *publish_some(void *arg) {
  struct world *w = arg;
  for (uint64_t i = 0; i < 200; i++)
    if (publish(w, i) != AUDITSTORE_OK)
      return "failed";
  return NULL;
}

static void threads_share_a_sync(void **state) {
  struct world *w = *state;
  pthread_t threads[8];
  start(w);
  for (size_t i = 0; i < 8; i++)
    pthread_create(&threads[i], NULL, publish_some, w);
  for (size_t i = 0; i < 8; i++) {
    void *failure = NULL;
    pthread_join(threads[i], &failure);
    assert_null(failure);
  }
  flush_all(w);
  assert_int_equal(store_server_stored(w->server), 1600);
  assert_true(counters(w).spool_syncs < 1600);
}

static void an_event_above_todays_batch_size_is_sent(void **state) {
  struct world *w = *state;
  struct event e;
  char *large = calloc(1, 200001);
  memset(large, ' ', 200000);
  event_init(&e, 0);
  e.event.event_data = large;
  w->options.max_batch_bytes = 0;
  store_server_leave(w->server);
  start(w);
  assert_int_equal(auditstore_publisher_publish(w->publisher, &e.event, 0, NULL), AUDITSTORE_OK);
  publish_range(w, 1, 4);
  close_publisher(w, 4);
  free(large);
  w->options.max_batch_bytes = 100000;
  send_all(w);
  expect_stored_in_order(w, 4);
}

/* ---- the disk ---- */

static void a_disk_without_room_refuses_and_goes_on_later(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  struct rlimit before;
  struct rlimit small = {.rlim_cur = 20000};
  uint64_t taken = 0;
  const struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGXFSZ, &ignore, NULL);
  getrlimit(RLIMIT_FSIZE, &before);
  small.rlim_max = before.rlim_max;
  store_server_leave(w->server);
  start(w);
  setrlimit(RLIMIT_FSIZE, &small);
  while (taken < 5000 && publish(w, taken) == AUDITSTORE_OK)
    taken++;
  assert_in_range(taken, 50, 500);
  assert_int_equal(auditstore_publisher_publish(w->publisher, event_init(&e, taken), 0, &status),
                   AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_non_null(strstr(status.message, "can't be written"));
  auditstore_status_deinit(&status);
  setrlimit(RLIMIT_FSIZE, &before);
  publish_range(w, taken, taken + 100);
  close_publisher(w, taken + 100);
  send_all(w);
  expect_stored_in_order(w, taken + 100);
}

/* ---- refused for good ---- */

static void reject_odd(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                       struct store_reply *reply) {
  (void)arg;
  (void)number;
  if (strcmp(batch->events[0]->event_type, "1") == 0)
    *reply = (struct store_reply){
        .action = STORE_REJECT, .code = AUDITSTORE_INVALID_ARGUMENT, .field = "events[0].actor.id"};
}

static void what_the_store_refused_for_good_is_kept_in_a_file(void **state) {
  struct world *w = *state;
  static uint8_t text[4096];
  w->script = reject_odd;
  w->options.max_batch_events = 1;
  start(w);
  write_file(path_of(w, "rejected"), "half a line", 11);
  publish_range(w, 0, 3);
  flush_all(w);
  assert_int_equal(counters(w).rejected, 1);
  text[read_file(path_of(w, "rejected"), text, sizeof(text) - 1)] = '\0';
  const char *line =
      "half a line\n{\"code\":\"INVALID_ARGUMENT\",\"message\":\"actor.id: is "
      "bad\",\"tag\":1,\"event\":\"CiQ";
  assert_int_equal(strncmp((const char *)text, line, strlen(line)), 0);
  close_publisher(w, 0);
  start(w);
  assert_int_equal(counters(w).replayed, 0);
}

static void refuse_all(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                       struct store_reply *reply) {
  (void)arg;
  (void)number;
  (void)batch;
  *reply = (struct store_reply){.action = STORE_REFUSE, .code = AUDITSTORE_INVALID_ARGUMENT};
}

static void moving_the_rejected_away_makes_room(void **state) {
  struct world *w = *state;
  char moved[300];
  w->script = refuse_all;
  w->options.spool_max_bytes = 128 * 1024;
  w->options.when_full = AUDITSTORE_FULL_REFUSE;
  start(w);
  while (!strstr(counters(w).last_message, "move rejected away"))
    publish(w, 0);
  while (publish(w, 0) == AUDITSTORE_OK) {
  }
  uint64_t bytes = counters(w).spool_bytes;
  snprintf(moved, sizeof(moved), "%s", path_of(w, "moved"));
  assert_int_equal(rename(path_of(w, "rejected"), moved), 0);
  assert_true(counters(w).spool_bytes < bytes);
  assert_int_equal(publish(w, 0), AUDITSTORE_OK);
}

static void an_event_that_cannot_be_noted_as_rejected_stays(void **state) {
  struct world *w = *state;
  w->script = reject_odd;
  w->options.max_batch_events = 1;
  w->options.max_in_flight = 1;
  start(w);
  assert_int_equal(mkdir(path_of(w, "rejected"), 0700), 0);
  publish_range(w, 0, 3);
  WAIT_FOR(strstr(counters(w).last_message, "rejected: can't be opened"));
  assert_int_equal(counters(w).unconfirmed, 2);
  assert_int_equal(rmdir(path_of(w, "rejected")), 0);
  flush_all(w);
  assert_int_equal(counters(w).rejected, 1);
  assert_int_equal(counters(w).acknowledged, 2);
}

static void damage_under_a_running_publisher_stops_it_with_a_word(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  store_server_leave(w->server);
  w->options.max_batch_events = 1;
  start(w);
  publish_in_arrays(w, 0, 5000);
  /* Far behind what it has read. */
  int fd = open(first_segment(w), O_WRONLY);
  assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff", 6, 400000), 6);
  close(fd);
  store_server_return(w->server);
  WAIT_FOR(counters(w).last_code == AUDITSTORE_DATA_LOSS);
  assert_true(auditstore_publisher_flush(w->publisher, PATIENCE_MS) > 0);
  assert_int_equal(auditstore_publisher_publish(w->publisher, event_init(&e, 0), 0, &status),
                   AUDITSTORE_DATA_LOSS);
  assert_non_null(strstr(status.message, "is damaged at byte"));
  auditstore_status_deinit(&status);
  size_t stored = store_server_stored(w->server);
  assert_in_range(stored, 1000, 4999);
  expect_stored_in_order(w, stored);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      SPOOL_TEST(a_full_spool_refuses_and_says_so),
      SPOOL_TEST(a_full_spool_blocks_until_there_is_room),
      SPOOL_TEST(what_is_settled_makes_room),
      SPOOL_TEST(memory_overflows_into_the_spool_in_order),
      SPOOL_TEST(close_saves_what_is_in_memory_alone),
      SPOOL_TEST(close_saves_all_batches_of_an_array),
      SPOOL_TEST(close_saves_both_halves_of_a_batch),
      SPOOL_TEST(fail_closed_is_ok_when_the_disk_has_it),
      SPOOL_TEST(threads_share_a_sync),
      SPOOL_TEST(an_event_above_todays_batch_size_is_sent),
      SPOOL_TEST(a_disk_without_room_refuses_and_goes_on_later),
      SPOOL_TEST(what_the_store_refused_for_good_is_kept_in_a_file),
      SPOOL_TEST(moving_the_rejected_away_makes_room),
      SPOOL_TEST(an_event_that_cannot_be_noted_as_rejected_stays),
      SPOOL_TEST(damage_under_a_running_publisher_stops_it_with_a_word),
  };
  return cmocka_run_group_tests_name("spool_bounds", tests, NULL, NULL);
}
