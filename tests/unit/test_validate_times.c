/*
 * Validation of times: what an event's time and duration may be, and what two clocks that disagree
 * make of it.
 */
#include "validate_fixture.h"

/* ---- times ---- */

static void event_time_is_required_and_in_range(void **state) {
  struct fixture *f = *state;
  f->message.event_time = NULL;
  assert_refused(f, "event_time");
  f->message.event_time = &f->time;
  f->time.nanos = 1000000000;
  assert_refused(f, "event_time");
  f->time.nanos = -1;
  assert_refused(f, "event_time");
  f->config.max_event_age_us = f->config.max_event_ahead_us = CLOCK_NEVER;
  f->time.nanos = 999999999;
  static const int64_t bad[] = {-62135596801, 253402300800, INT64_MIN, INT64_MAX};
  for (int i = 0; i < 4; i++) {
    f->time.seconds = bad[i];
    assert_refused(f, "event_time");
  }
  f->time.seconds = -62135596800;
  assert_accepted(f);
  f->time.seconds = 253402300799;
  assert_accepted(f);
  assert_int_equal(f->event.time_us, 253402300799999999);
}

static void event_time_is_cut_to_microseconds(void **state) {
  struct fixture *f = *state;
  f->time.nanos = 123456999;
  assert_accepted(f);
  assert_int_equal(f->event.time_us, f->time.seconds * 1000000 + 123456);
  f->config.max_event_age_us = CLOCK_NEVER;
  f->time.seconds = -1;
  f->time.nanos = 999;
  assert_accepted(f);
  assert_int_equal(f->event.time_us, -1000000);
}

static void set_time(struct fixture *f, int64_t us) {
  f->time.seconds = us / 1000000;
  f->time.nanos = (int32_t)(us % 1000000) * 1000;
}

static void event_time_lies_within_the_window(void **state) {
  struct fixture *f = *state;
  set_time(f, NOW_US - 7 * DAY_US);
  assert_accepted(f);
  set_time(f, NOW_US - 7 * DAY_US - 1);
  assert_told(f, "event_time",
              "lies 169h back, and the most is 168h (ingest.max_event_age, which the server's "
              "operator may raise, or turn off while old records are taken over)");
  set_time(f, NOW_US + 3600LL * 1000000);
  assert_accepted(f);
  set_time(f, NOW_US + 3600LL * 1000000 + 1);
  assert_told(
      f, "event_time",
      "lies 61m ahead of the server's clock, and the most is 1h "
      "(ingest.max_event_ahead): set the clock right that it was read from, and look at its "
      "zone");
  f->config.max_event_ahead_us = CLOCK_NEVER;
  assert_accepted(f);
  set_time(f, 0);
  assert_refused(f, "event_time");
  f->config.max_event_age_us = CLOCK_NEVER;
  assert_accepted(f);
}

/* Neither stored nor refused: the answer is false, and no violation is made. */
static void assert_in_doubt(struct fixture *f) {
  f->validator.is_clock_in_doubt = false;
  assert_false(validate(f));
  assert_null(f->status);
  assert_true(f->validator.is_clock_in_doubt);
  assert_int_equal(f->validator.made_ids, 0);
}

static void refuse_for_good(struct fixture *f) {
  f->validator.is_clock_in_doubt = false;
  assert_refused(f, "event_time");
  assert_false(f->validator.is_clock_in_doubt);
}

static void set_clocks(struct fixture *f, int64_t ahead_us, int64_t uncertainty_us) {
  f->validator.clocks =
      (struct clock_difference){.is_known = true, .us = ahead_us, .uncertainty_us = uncertainty_us};
}

static void a_time_that_this_clock_alone_refuses_is_in_doubt(void **state) {
  struct fixture *f = *state;
  set_clocks(f, 40 * DAY_US, 1000);
  set_time(f, NOW_US - 40 * DAY_US);
  assert_in_doubt(f);
  f->message.event_id = bytes("");
  assert_in_doubt(f);
  set_time(f, NOW_US - 47 * DAY_US);
  assert_in_doubt(f);
  set_time(f, NOW_US - 47 * DAY_US - 1);
  refuse_for_good(f);
  set_clocks(f, -2 * 3600LL * 1000000, 1000);
  set_time(f, NOW_US + 3 * 3600LL * 1000000);
  assert_in_doubt(f);
  set_time(f, NOW_US + 3 * 3600LL * 1000000 + 1);
  refuse_for_good(f);
}

/* Too old by this clock, too far ahead by the other. */
static void a_time_that_both_clocks_refuse_is_refused(void **state) {
  struct fixture *f = *state;
  set_clocks(f, 40 * DAY_US, 1000);
  set_time(f, NOW_US - 30 * DAY_US);
  refuse_for_good(f);
  set_clocks(f, -40 * DAY_US, 1000);
  set_time(f, NOW_US + 30 * DAY_US);
  refuse_for_good(f);
}

static void a_time_that_this_clock_accepts_is_accepted(void **state) {
  struct fixture *f = *state;
  static const int64_t ahead[] = {40 * DAY_US, -40 * DAY_US, 1, 0};
  for (int i = 0; i < 4; i++) {
    set_clocks(f, ahead[i], 0);
    set_time(f, NOW_US - 7 * DAY_US);
    assert_accepted(f);
    assert_false(f->validator.is_clock_in_doubt);
  }
}

static void a_difference_within_the_measurements_error_says_nothing(void **state) {
  struct fixture *f = *state;
  set_time(f, NOW_US - 7 * DAY_US - 1);
  set_clocks(f, 5000, 5000);
  refuse_for_good(f);
  set_clocks(f, 5001, 5000);
  assert_in_doubt(f);
  f->validator.clocks.is_known = false;
  refuse_for_good(f);
}

static void durations_are_zero_to_ten_years(void **state) {
  struct fixture *f = *state;
  assert_accepted(f);
  assert_int_equal(f->event.duration_us, -1);
  f->message.duration = &f->duration;
  assert_accepted(f);
  assert_int_equal(f->event.duration_us, 0);
  f->duration.nanos = 1999;
  assert_accepted(f);
  assert_int_equal(f->event.duration_us, 1);
  static const struct {
    int64_t seconds;
    int32_t nanos;
  } bad[] = {{-1, 0},        {0, -1},        {-1, -1},          {1, -1},        {0, 1000000000},
             {INT64_MAX, 0}, {INT64_MIN, 0}, {315619200, 1000}, {315619201, 0}, {0, INT32_MIN}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    f->duration.seconds = bad[i].seconds;
    f->duration.nanos = bad[i].nanos;
    assert_refused(f, "duration");
  }
  f->duration.seconds = 315619200;
  f->duration.nanos = 0;
  assert_accepted(f);
  assert_int_equal(f->event.duration_us, EVENT_DURATION_MAX_US);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(event_time_is_required_and_in_range),
      TEST(event_time_is_cut_to_microseconds),
      TEST(event_time_lies_within_the_window),
      TEST(a_time_that_this_clock_alone_refuses_is_in_doubt),
      TEST(a_time_that_both_clocks_refuse_is_refused),
      TEST(a_time_that_this_clock_accepts_is_accepted),
      TEST(a_difference_within_the_measurements_error_says_nothing),
      TEST(durations_are_zero_to_ten_years),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
