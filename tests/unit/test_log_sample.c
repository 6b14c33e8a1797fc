/* What peers can make of the log, by a clock that the tests move. */
#include "base/log_sample.h"
#include "base/log_writer.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#define TEXT_BYTES (4 * 1024 * 1024)

static char text[TEXT_BYTES];
static int64_t fake_now;

static int64_t read_fake(const struct clock *clock) {
  (void)clock;
  return fake_now;
}

static const struct clock fake_clock = {.monotonic_us = read_fake, .wall_us = read_fake};

struct world {
  uv_loop_t uv;
  struct loop loop;
  int fd; /* what the log goes to */
};

static int setup(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  fake_now = 1000000;
  uv_loop_init(&w->uv);
  loop_init(&w->loop, &w->uv, &fake_clock);
  w->loop.sampler = log_sampler_new(&w->loop);
  w->fd = memfd_create("log", MFD_CLOEXEC);
  log_configure(LOG_INFO, LOG_TEXT);
  log_writer_set_fd(w->fd);
  *state = w;
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  log_sampler_close(w->loop.sampler);
  log_configure(LOG_INFO, LOG_TEXT);
  log_writer_set_fd(STDERR_FILENO);
  loop_deinit(&w->loop);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->uv), 0);
  close(w->fd);
  free(w);
  return 0;
}

/* ---- helpers ---- */

static void happen(struct world *w, enum log_level level, const char *peer, const char *reason) {
  struct log_cause cause = {.level = level, .event = "it happened", .peer = peer};
  if (reason)
    cause.detail = KV("reason", reason);
  const struct log_kv code = KV("code", 7);
  log_sampled(&w->loop, &cause, &code, 1);
}

static void pass(struct world *w, int64_t us) {
  fake_now += us;
  for (int i = 0; i < 3; i++)
    uv_run(&w->uv, UV_RUN_NOWAIT);
}

/* How many lines hold both words; what they stand for is added up. */
static int lines_with(struct world *w, const char *one, const char *two, int64_t *ret_sum) {
  int count = 0;
  char *rest = NULL;
  while (log_writer_stats().waiting_bytes > 0)
    log_writer_flush();
  ssize_t len = pread(w->fd, text, sizeof(text) - 1, 0);
  assert_true(len >= 0);
  text[len] = '\0';
  *ret_sum = 0;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    const char *repeated = strstr(line, "repeated=");
    if (!strstr(line, one) || !strstr(line, two))
      continue;
    *ret_sum += repeated ? strtoll(repeated + strlen("repeated="), NULL, 10) : 1;
    count++;
  }
  return count;
}

static void expect(struct world *w, const char *word, int lines, int64_t sum) {
  int64_t found = 0;
  assert_int_equal(lines_with(w, word, "", &found), lines);
  assert_int_equal(found, sum);
}

/* ---- one peer ---- */

static void the_first_are_told_as_they_are(void **state) {
  struct world *w = *state;
  happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
  happen(w, LOG_WARN, "[2001:db8::7]:80", NULL);
  expect(w, "INFO  it happened peer=192.0.2.7:80 reason=\"rule broken\" code=7", 1, 1);
  expect(w, "WARN  it happened peer=[2001:db8::7]:80 code=7", 1, 1);
}

static void more_of_a_cause_are_told_as_a_number(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 1000; i++) {
    char peer[32];
    snprintf(peer, sizeof(peer), "192.0.2.7:%d", i);
    happen(w, LOG_INFO, peer, "rule broken");
  }
  expect(w, "it happened", 5, 5);
  assert_int_equal(log_sampler_left_out(w->loop.sampler), 995);
  pass(w, 10000000);
  expect(w, "it happened peer=192.0.2.7 reason=\"rule broken\" repeated=995", 1, 995);
  expect(w, "it happened", 6, 1000);
}

static void a_flood_that_goes_on_is_a_line_in_ten_seconds(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100000; i++) {
    happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
    pass(w, 1000);
  }
  pass(w, 10000000);
  expect(w, "it happened", 5 + 10, 100000);
}

static void causes_and_addresses_dont_hide_one_another(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100; i++) {
    happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
    happen(w, LOG_INFO, "192.0.2.8:80", "rule broken");
    happen(w, LOG_INFO, "192.0.2.7:80", "too many pings");
  }
  pass(w, 10000000);
  int64_t sum = 0;
  assert_int_equal(lines_with(w, "192.0.2.7", "rule broken", &sum), 6);
  assert_int_equal(sum, 100);
  assert_int_equal(lines_with(w, "192.0.2.7", "too many pings", &sum), 6);
  assert_int_equal(sum, 100);
  assert_int_equal(lines_with(w, "192.0.2.8", "rule broken", &sum), 6);
  assert_int_equal(sum, 100);
}

static void what_is_rare_is_told_each_time(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100; i++) {
    happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
    pass(w, 11000000);
  }
  expect(w, "it happened", 100, 100);
}

static void after_a_quiet_minute_the_first_are_told_again(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100; i++)
    happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
  for (int i = 0; i < 7; i++)
    pass(w, 10000000);
  for (int i = 0; i < 5; i++)
    happen(w, LOG_INFO, "192.0.2.7:80", "rule broken");
  expect(w, "it happened", 6 + 5, 105);
}

/* ---- many ---- */

static void happen_to_many(struct world *w, enum log_level level, int addresses, int times) {
  for (int i = 0; i < addresses * times; i++) {
    char peer[32];
    snprintf(peer, sizeof(peer), "10.%d.%d.1:80", i % addresses / 256, i % addresses % 256);
    happen(w, level, peer, "rule broken");
  }
}

static void many_addresses_at_once_have_fifty_lines(void **state) {
  struct world *w = *state;
  happen_to_many(w, LOG_INFO, 10000, 1);
  expect(w, "it happened", 50, 50);
  pass(w, 10000000);
  int64_t sum = 0;
  int64_t others = 0;
  assert_int_equal(lines_with(w, "it happened", "repeated", &sum), 64);
  assert_int_equal(lines_with(w, "log lines left out", "", &others), 1);
  assert_int_equal(50 + sum + others, 10000);
}

static void whatever_peers_do_lines_a_second_are_few(void **state) {
  struct world *w = *state;
  int64_t sum = 0;
  for (int second = 0; second < 100; second++) {
    happen_to_many(w, LOG_INFO, 1000, 3);
    pass(w, 1000000);
  }
  pass(w, 10000000);
  assert_in_range(lines_with(w, "", "", &sum), 50, 50 + 110 * 12);
  assert_int_equal(sum, 300000);
}

static void debug_lines_take_nothing_from_the_others(void **state) {
  struct world *w = *state;
  log_configure(LOG_DEBUG, LOG_TEXT);
  happen_to_many(w, LOG_DEBUG, 60, 5);
  expect(w, "DEBUG it happened", 50, 50);
  happen(w, LOG_WARN, "192.0.2.7:80", "out of memory");
  expect(w, "WARN  it happened", 1, 1);
}

static void what_the_level_hides_isnt_counted(void **state) {
  struct world *w = *state;
  happen_to_many(w, LOG_DEBUG, 100, 10);
  pass(w, 10000000);
  expect(w, "", 0, 0);
  assert_int_equal(log_sampler_left_out(w->loop.sampler), 0);
}

/* ---- its life ---- */

static void the_end_tells_what_was_left_out(void **state) {
  struct world *w = *state;
  happen_to_many(w, LOG_INFO, 200, 10);
  log_sampler_close(w->loop.sampler);
  w->loop.sampler = NULL;
  int64_t sum = 0;
  (void)lines_with(w, "", "", &sum);
  assert_int_equal(sum, 2000);
}

static void without_a_sampler_each_line_is_written(void **state) {
  struct world *w = *state;
  log_sampler_close(w->loop.sampler);
  w->loop.sampler = NULL;
  happen_to_many(w, LOG_INFO, 1, 300);
  expect(w, "it happened", 300, 300);
}

static void long_texts_are_told_apart_by_their_beginning(void **state) {
  struct world *w = *state;
  char reason[1000];
  for (int i = 0; i < 20; i++) {
    memset(reason, 'a' + i % 2, sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    happen(w, LOG_INFO, "no port here, and an address of more than sixty-four bytes, if it is one",
           reason);
  }
  pass(w, 10000000);
  expect(w, "it happened", 2 * 6, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_first_are_told_as_they_are),
      TEST(more_of_a_cause_are_told_as_a_number),
      TEST(a_flood_that_goes_on_is_a_line_in_ten_seconds),
      TEST(causes_and_addresses_dont_hide_one_another),
      TEST(what_is_rare_is_told_each_time),
      TEST(after_a_quiet_minute_the_first_are_told_again),
      TEST(many_addresses_at_once_have_fifty_lines),
      TEST(whatever_peers_do_lines_a_second_are_few),
      TEST(debug_lines_take_nothing_from_the_others),
      TEST(what_the_level_hides_isnt_counted),
      TEST(the_end_tells_what_was_left_out),
      TEST(without_a_sampler_each_line_is_written),
      TEST(long_texts_are_told_apart_by_their_beginning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
