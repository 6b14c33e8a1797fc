/* The publisher's spool: what a crash can do to it, and what it must not lose. */
#include "spool_fixture.h"

#include "crc32c.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

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

static void a_folder_of_another_user_is_refused(void **state) {
  struct world *w = *state;
  if (geteuid() != 0)
    skip(); /* only root can give it away */
  assert_int_equal(mkdir(w->spool, 0700), 0);
  assert_int_equal(chown(w->spool, 65534, 65534), 0);
  expect_no_start(w, AUDITSTORE_FAILED_PRECONDITION, "another user owns the spool");
  assert_int_equal(chown(w->spool, 0, 0), 0);
  start(w);
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

static void a_damaged_segment_can_be_set_aside(void **state) {
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
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "To go on, set it aside");
  char moved[300];
  snprintf(moved, sizeof(moved), "%s", path_of(w, "0000000000000001.damaged"));
  assert_int_equal(rename(first_segment(w), moved), 0);
  start(w);
  assert_int_equal(counters(w).replayed, 2);
  close_publisher(w, 2);
  assert_int_equal(unlink(moved), 0);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "0000000000000001.segment is missing");
}

/* Only the last one: of any other the next one says where it ends. */
static void the_last_segment_can_be_cut(void **state) {
  struct world *w = *state;
  static uint8_t bytes[4096];
  fill_spool(w, 4);
  size_t len = read_file(first_segment(w), bytes, sizeof(bytes));
  size_t second = 32 + (len - 32) / 4;
  bytes[second + 10] ^= 1;
  write_file(first_segment(w), bytes, len);
  char text[64];
  snprintf(text, sizeof(text), "cut it there (truncate -s %zu) or set it aside", second);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, text);
  assert_int_equal(truncate(first_segment(w), (off_t)second), 0);
  send_all(w);
  expect_stored_in_order(w, 1);
}

static void take_two_batches(void *arg, size_t number,
                             const Auditstore__V1__StreamEventsRequest *batch,
                             struct store_reply *reply) {
  (void)arg;
  (void)batch;
  reply->action = number < 2 ? STORE_TAKE : STORE_IGNORE;
}

/* Leaves a segment of which some is acknowledged, and moves it away, to the name if there is one.
 * Returns how many events were stored. */
static size_t lose_last_segment(struct world *w, const char *name) {
  char path[300];
  w->script = take_two_batches;
  w->options.max_batch_events = 10;
  w->options.max_in_flight = 1;
  start(w);
  assert_int_equal(publish_array(w, 0, 100), AUDITSTORE_OK);
  WAIT_FOR(counters(w).acknowledged == 20);
  close_publisher(w, 80);
  store_server_leave(w->server);
  w->script = NULL;
  snprintf(path, sizeof(path), "%s", name ? path_of(w, name) : "");
  assert_int_equal(name ? rename(first_segment(w), path) : unlink(first_segment(w)), 0);
  store_server_return(w->server);
  return 20;
}

static void after_the_last_segment_was_set_aside_what_is_new_is_sent(void **state) {
  struct world *w = *state;
  size_t stored = lose_last_segment(w, "0000000000000001.damaged");
  for (uint64_t round = 0; round < 2; round++) {
    start(w);
    assert_int_equal(counters(w).replayed, 0);
    publish_range(w, 1000, 1030);
    flush_all(w);
    stored += 30;
    assert_int_equal(store_server_stored(w->server), stored);
    close_publisher(w, 0);
  }
  assert_int_equal(access(path_of(w, "0000000000000001.damaged"), F_OK), 0);
}

static void a_number_that_was_set_aside_is_not_used_again(void **state) {
  struct world *w = *state;
  char moved[300];
  fill_spool(w, 4);
  snprintf(moved, sizeof(moved), "%s", path_of(w, "0000000000000001.damaged"));
  assert_int_equal(rename(first_segment(w), moved), 0);
  unlink(path_of(w, "acknowledged"));
  start(w);
  publish_range(w, 0, 3);
  close_publisher(w, 3);
  assert_int_not_equal(access(first_segment(w), F_OK), 0);
  send_all(w);
  expect_stored_in_order(w, 3);
}

static void a_last_segment_that_is_gone_is_missed(void **state) {
  struct world *w = *state;
  lose_last_segment(w, NULL);
  expect_no_start(w, AUDITSTORE_DATA_LOSS, "0000000000000001.segment is missing");
  write_file(path_of(w, "0000000000000001.damaged"), "", 0);
  start(w);
  publish_range(w, 1000, 1030);
  flush_all(w);
  assert_int_equal(store_server_stored(w->server), 50);
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

static void refuse_for_long(void *arg, size_t number,
                            const Auditstore__V1__StreamEventsRequest *batch,
                            struct store_reply *reply) {
  (void)arg;
  (void)number;
  (void)batch;
  *reply = (struct store_reply){
      .action = STORE_REFUSE, .code = AUDITSTORE_UNAVAILABLE, .retry_ms = 300000};
}

static void unsynced_events_are_synced_in_time_during_a_pause(void **state) {
  struct world *w = *state;
  w->script = refuse_for_long;
  w->options.spool_unsynced_ms = 20;
  start(w);
  publish_range(w, 0, 1);
  WAIT_FOR(counters(w).last_code == AUDITSTORE_UNAVAILABLE);
  WAIT_FOR(counters(w).spool_syncs == 1);
  publish_range(w, 1, 2);
  WAIT_FOR(counters(w).spool_syncs == 2);
}

/* The system takes connections for a program that never does. */
static int listen_in_silence(char target[32]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  assert_int_equal(listen(fd, 8), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  snprintf(target, 32, "127.0.0.1:%u", ntohs(address.sin_port));
  return fd;
}

static void unsynced_events_are_synced_in_time_while_it_connects(void **state) {
  struct world *w = *state;
  char target[32];
  const struct auditstore_channel_options patient = {.connect_timeout_ms = 600000};
  int fd = listen_in_silence(target);
  auditstore_channel_free(w->channel);
  w->channel = auditstore_channel_new(target, &patient, NULL);
  w->options.spool_unsynced_ms = 20;
  start(w);
  for (uint64_t i = 0; i < 3; i++) {
    publish_range(w, i, i + 1);
    WAIT_FOR(counters(w).spool_syncs == i + 1);
  }
  close_publisher(w, 3);
  close(fd);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      SPOOL_TEST(the_checksum_is_crc32c),
      SPOOL_TEST(events_go_through_the_spool),
      SPOOL_TEST(what_was_not_acknowledged_is_sent_by_the_next_one_before_what_is_new),
      SPOOL_TEST(only_its_user_may_read_it),
      SPOOL_TEST(a_folder_that_others_may_write_to_is_refused),
      SPOOL_TEST(a_folder_of_another_user_is_refused),
      SPOOL_TEST(a_spool_is_of_one_publisher_at_a_time),
      SPOOL_TEST(a_torn_tail_is_cut_at_every_length),
      SPOOL_TEST(zeros_behind_the_last_record_are_cut),
      SPOOL_TEST(a_segment_that_was_just_being_made_is_dropped),
      SPOOL_TEST(flipped_bits_are_found_and_never_skipped),
      SPOOL_TEST(a_damaged_segment_can_be_set_aside),
      SPOOL_TEST(the_last_segment_can_be_cut),
      SPOOL_TEST(after_the_last_segment_was_set_aside_what_is_new_is_sent),
      SPOOL_TEST(a_number_that_was_set_aside_is_not_used_again),
      SPOOL_TEST(a_last_segment_that_is_gone_is_missed),
      SPOOL_TEST(what_the_next_segment_says_was_there_must_be),
      SPOOL_TEST(what_a_killed_program_published_is_sent),
      SPOOL_TEST(unsynced_events_survive_the_program_too),
      SPOOL_TEST(unsynced_events_are_synced_in_time),
      SPOOL_TEST(unsynced_events_are_synced_in_time_during_a_pause),
      SPOOL_TEST(unsynced_events_are_synced_in_time_while_it_connects),
      SPOOL_TEST(acknowledged_events_are_not_sent_again),
      SPOOL_TEST(without_the_place_all_is_sent_again_which_is_harmless),
      SPOOL_TEST(acknowledged_segments_are_deleted),
  };
  return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
