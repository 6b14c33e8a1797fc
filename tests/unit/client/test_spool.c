/* The publisher's spool: what a crash can do to it, and what it must not lose. */
#include "publisher_fixture.h"

#include "crc32c.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int setup_spool(void **state) {
  setup(state);
  struct world *w = *state;
  w->options.spool_dir = w->spool;
  w->options.max_batch_bytes = 16 * 1024;
  return 0;
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, setup_spool, teardown)

/* ---- files ---- */

static const char *path_of(const struct world *w, const char *name) {
  static char path[256];
  snprintf(path, sizeof(path), "%s/%s", w->spool, name);
  return path;
}

static const char *first_segment(const struct world *w) {
  return path_of(w, "0000000000000001.segment");
}

static size_t read_file(const char *path, uint8_t *bytes, size_t size) {
  FILE *file = fopen(path, "rb");
  size_t len = file ? fread(bytes, 1, size, file) : 0;
  if (file)
    fclose(file);
  return len;
}

static void write_file(const char *path, const void *bytes, size_t len) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  fclose(file);
}

static size_t count_segments(const struct world *w) {
  size_t count = 0;
  DIR *folder = opendir(w->spool);
  const struct dirent *entry = NULL;
  while ((entry = readdir(folder)))
    count += strstr(entry->d_name, ".segment") != NULL;
  closedir(folder);
  return count;
}

/* With one fsync for each hundred. */
static void publish_in_arrays(struct world *w, uint64_t first, uint64_t behind) {
  for (uint64_t at = first; at < behind; at += 100)
    assert_int_equal(publish_array(w, at, behind - at < 100 ? behind - at : 100), AUDITSTORE_OK);
}

/* Events 0 .. count - 1 are in the spool, and none is acknowledged. */
static void fill_spool(struct world *w, uint64_t count) {
  store_server_leave(w->server);
  start(w);
  publish_range(w, 0, count);
  close_publisher(w, count);
}

static void send_all(struct world *w) {
  store_server_return(w->server);
  start(w);
  flush_all(w);
}

/* ---- through it ---- */

static void the_checksum_is_crc32c(void **state) {
  (void)state;
  assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
  assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
  assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
  uint8_t bytes[100];
  for (size_t i = 0; i < sizeof(bytes); i++)
    bytes[i] = (uint8_t)(i * 37);
  for (size_t i = 0; i < sizeof(bytes); i++)
    assert_int_equal(crc32c(0, bytes, i), crc32c_portable(0, bytes, i));
}

static void events_go_through_the_spool(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 500);
  assert_int_equal(publish_array(w, 500, 500), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 1000);
  expect_told(w, 1000);
  struct auditstore_publisher_counters c = counters(w);
  assert_int_equal(c.queue_events, 0);
  assert_true(c.spool_syncs > 0);
  assert_int_equal(c.replayed, 0);
  close_publisher(w, 0);
  assert_int_equal(count_segments(w), 0);
}

static void what_was_not_acknowledged_is_sent_by_the_next_one_before_what_is_new(void **state) {
  struct world *w = *state;
  fill_spool(w, 300);
  store_server_return(w->server);
  start(w);
  assert_int_equal(counters(w).replayed, 300);
  publish_range(w, 300, 400);
  flush_all(w);
  expect_stored_in_order(w, 400);
  expect_told(w, 400);
}

static void only_its_user_may_read_it(void **state) {
  struct world *w = *state;
  struct stat st;
  mode_t before = umask(0);
  fill_spool(w, 1);
  umask(before);
  assert_int_equal(stat(w->spool, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  const char *const names[] = {"lock", "acknowledged", "0000000000000001.segment"};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(stat(path_of(w, names[i]), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
  }
}

static void a_folder_that_others_may_write_to_is_refused(void **state) {
  struct world *w = *state;
  assert_int_equal(mkdir(w->spool, 0700), 0);
  assert_int_equal(chmod(w->spool, 0770), 0);
  expect_no_start(w, AUDITSTORE_FAILED_PRECONDITION, "chmod 700");
  assert_int_equal(rmdir(w->spool), 0);
  write_file(w->spool, "", 0);
  expect_no_start(w, AUDITSTORE_UNAVAILABLE, "can't be opened as a folder");
  unlink(w->spool);
  w->options.spool_dir = "/nowhere/at/all";
  expect_no_start(w, AUDITSTORE_UNAVAILABLE, "can't be made");
}

static void a_spool_is_of_one_publisher_at_a_time(void **state) {
  struct world *w = *state;
  start(w);
  expect_no_start(w, AUDITSTORE_FAILED_PRECONDITION, "another publisher");
  pid_t child = fork();
  if (child == 0) {
    struct auditstore_status status = {0};
    struct auditstore_channel *channel = auditstore_channel_new("127.0.0.1:1", NULL, NULL);
    _exit(auditstore_publisher_new(channel, &w->options, &status) ? 0 : (int)status.code);
  }
  int code = 0;
  waitpid(child, &code, 0);
  assert_int_equal(WEXITSTATUS(code), AUDITSTORE_FAILED_PRECONDITION);
  close_publisher(w, 0);
  start(w);
}

/* ---- what a crash leaves ---- */

static void a_torn_tail_is_cut_at_every_length(void **state) {
  struct world *w = *state;
  static uint8_t bytes[4096];
  struct record record;
  size_t needed = 0;
  fill_spool(w, 3);
  size_t len = read_file(first_segment(w), bytes, sizeof(bytes));
  size_t last = 32;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(record_read(bytes + last, len - last, &record, &needed), RECORD_OK);
    last += record_size(&record);
  }
  for (size_t cut = last; cut < len; cut++) {
    remove_folder(w->spool);
    assert_int_equal(mkdir(w->spool, 0700), 0);
    write_file(first_segment(w), bytes, cut);
    start(w);
    assert_int_equal(counters(w).replayed, 2);
    assert_int_equal(counters(w).spool_cut_bytes, cut - last);
    assert_int_equal(publish(w, 2), AUDITSTORE_OK);
    close_publisher(w, 3);
    start(w);
    assert_int_equal(counters(w).replayed, 3);
    assert_int_equal(counters(w).spool_cut_bytes, 0);
    close_publisher(w, 3);
  }
}

static void zeros_behind_the_last_record_are_cut(void **state) {
  struct world *w = *state;
  fill_spool(w, 5);
  struct stat st;
  assert_int_equal(stat(first_segment(w), &st), 0);
  assert_int_equal(truncate(first_segment(w), st.st_size + 5000), 0);
  send_all(w);
  assert_int_equal(counters(w).spool_cut_bytes, 5000);
  expect_stored_in_order(w, 5);
}

static void a_segment_that_was_just_being_made_is_dropped(void **state) {
  struct world *w = *state;
  fill_spool(w, 5);
  for (size_t len = 0; len <= 32; len += 8) {
    const uint8_t zeros[32] = {0};
    write_file(path_of(w, "0000000000000002.segment"), zeros, len);
    start(w);
    assert_int_equal(counters(w).replayed, 5);
    close_publisher(w, 5);
  }
  send_all(w);
  expect_stored_in_order(w, 5);
}

static void flipped_bits_are_found_and_never_skipped(void **state) {
  struct world *w = *state;
  static uint8_t bytes[4096];
  fill_spool(w, 4);
  size_t len = read_file(first_segment(w), bytes, sizeof(bytes));
  size_t end_of_third = 32 + (len - 32) / 4 * 3;
  for (size_t at = 0; at < end_of_third; at++) {
    bytes[at] ^= (uint8_t)(1 << at % 8);
    write_file(first_segment(w), bytes, len);
    expect_no_start(w, AUDITSTORE_DATA_LOSS, "0000000000000001.segment is damaged");
    bytes[at] ^= (uint8_t)(1 << at % 8);
  }
  write_file(first_segment(w), bytes, len);
  send_all(w);
  expect_stored_in_order(w, 4);
}

static void a_damaged_segment_can_be_cut_or_set_aside(void **state) {
  struct world *w = *state;
  static uint8_t bytes[4096];
  fill_spool(w, 4);
  start(w);
  publish_range(w, 4, 6);
  close_publisher(w, 6);
  size_t len = read_file(first_segment(w), bytes, sizeof(bytes));
  bytes[40] ^= 1;
  write_file(first_segment(w), bytes, len);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "damaged at byte 32");
  char moved[300];
  snprintf(moved, sizeof(moved), "%s", path_of(w, "0000000000000001.damaged"));
  assert_int_equal(rename(first_segment(w), moved), 0);
  start(w);
  assert_int_equal(counters(w).replayed, 2);
  close_publisher(w, 2);
  assert_int_equal(unlink(moved), 0);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "0000000000000001.segment is missing");
}

static void what_the_next_segment_says_was_there_must_be(void **state) {
  struct world *w = *state;
  struct stat st;
  fill_spool(w, 4);
  start(w);
  publish_range(w, 4, 5);
  close_publisher(w, 5);
  assert_int_equal(stat(first_segment(w), &st), 0);
  assert_int_equal(truncate(first_segment(w), st.st_size - 1), 0);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "is damaged");
}

/* Lets a child work on the spool, and kills it when it has said so. */
static void kill_child(struct world *w, uint64_t count) {
  int pipes[2];
  char byte = 0;
  assert_int_equal(pipe(pipes), 0);
  pid_t child = fork();
  if (child == 0) {
    w->channel = auditstore_channel_new("127.0.0.1:1", NULL, NULL);
    w->publisher = auditstore_publisher_new(w->channel, &w->options, NULL);
    for (uint64_t i = 0; i < count; i++)
      byte |= (char)publish(w, i);
    if (write(pipes[1], &byte, 1) == 1)
      pause();
    _exit(1);
  }
  assert_int_equal(read(pipes[0], &byte, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(pipes[0]);
  close(pipes[1]);
  assert_int_equal(byte, AUDITSTORE_OK);
}

static void what_a_killed_program_published_is_sent(void **state) {
  struct world *w = *state;
  kill_child(w, 100);
  start(w);
  flush_all(w);
  expect_stored_in_order(w, 100);
}

static void unsynced_events_survive_the_program_too(void **state) {
  struct world *w = *state;
  w->options.spool_unsynced_ms = 60000;
  kill_child(w, 100);
  start(w);
  flush_all(w);
  expect_stored_in_order(w, 100);
}

static void unsynced_events_are_synced_in_time(void **state) {
  struct world *w = *state;
  w->options.spool_unsynced_ms = 20;
  store_server_leave(w->server);
  start(w);
  publish_range(w, 0, 1);
  WAIT_FOR(counters(w).spool_syncs == 1);
  publish_range(w, 1, 2);
  WAIT_FOR(counters(w).spool_syncs == 2);
}

/* ---- the place up to which all is acknowledged ---- */

static void acknowledged_events_are_not_sent_again(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 200);
  flush_all(w);
  store_server_leave(w->server);
  publish_range(w, 200, 210);
  close_publisher(w, 10);
  size_t batches = store_server_batches(w->server);
  send_all(w);
  assert_int_equal(counters(w).replayed, 10);
  assert_int_equal(counters(w).duplicates, 0);
  assert_true(store_server_batches(w->server) > batches);
  expect_stored_in_order(w, 210);
}

static void without_the_place_all_is_sent_again_which_is_harmless(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 200);
  flush_all(w);
  store_server_leave(w->server);
  publish_range(w, 200, 210);
  close_publisher(w, 10);
  write_file(path_of(w, "acknowledged"), "no place at all, but 24 b", 24);
  send_all(w);
  assert_int_equal(counters(w).replayed, 210);
  assert_int_equal(counters(w).duplicates, 200);
  expect_stored_in_order(w, 210);
}

static void acknowledged_segments_are_deleted(void **state) {
  struct world *w = *state;
  w->options.spool_max_bytes = 256 * 1024;
  start(w);
  publish_in_arrays(w, 0, 5000);
  flush_all(w);
  expect_stored_in_order(w, 5000);
  assert_true(counters(w).spool_bytes <= 256 * 1024);
  assert_true(count_segments(w) <= 2);
  assert_int_not_equal(access(first_segment(w), F_OK), 0);
}

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

/* ---- the disk ---- */

static void a_disk_without_room_refuses_and_goes_on_later(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  struct rlimit before;
  struct rlimit small = {.rlim_cur = 20000};
  uint64_t taken = 0;
  signal(SIGXFSZ, SIG_IGN); /* NOLINT: the test's own process */
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
      SPOOL_TEST(the_checksum_is_crc32c),
      SPOOL_TEST(events_go_through_the_spool),
      SPOOL_TEST(what_was_not_acknowledged_is_sent_by_the_next_one_before_what_is_new),
      SPOOL_TEST(only_its_user_may_read_it),
      SPOOL_TEST(a_folder_that_others_may_write_to_is_refused),
      SPOOL_TEST(a_spool_is_of_one_publisher_at_a_time),
      SPOOL_TEST(a_torn_tail_is_cut_at_every_length),
      SPOOL_TEST(zeros_behind_the_last_record_are_cut),
      SPOOL_TEST(a_segment_that_was_just_being_made_is_dropped),
      SPOOL_TEST(flipped_bits_are_found_and_never_skipped),
      SPOOL_TEST(a_damaged_segment_can_be_cut_or_set_aside),
      SPOOL_TEST(what_the_next_segment_says_was_there_must_be),
      SPOOL_TEST(what_a_killed_program_published_is_sent),
      SPOOL_TEST(unsynced_events_survive_the_program_too),
      SPOOL_TEST(unsynced_events_are_synced_in_time),
      SPOOL_TEST(acknowledged_events_are_not_sent_again),
      SPOOL_TEST(without_the_place_all_is_sent_again_which_is_harmless),
      SPOOL_TEST(acknowledged_segments_are_deleted),
      SPOOL_TEST(a_full_spool_refuses_and_says_so),
      SPOOL_TEST(a_full_spool_blocks_until_there_is_room),
      SPOOL_TEST(memory_overflows_into_the_spool_in_order),
      SPOOL_TEST(close_saves_what_is_in_memory_alone),
      SPOOL_TEST(fail_closed_is_ok_when_the_disk_has_it),
      SPOOL_TEST(threads_share_a_sync),
      SPOOL_TEST(a_disk_without_room_refuses_and_goes_on_later),
      SPOOL_TEST(what_the_store_refused_for_good_is_kept_in_a_file),
      SPOOL_TEST(an_event_that_cannot_be_noted_as_rejected_stays),
      SPOOL_TEST(damage_under_a_running_publisher_stops_it_with_a_word),
  };
  return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
