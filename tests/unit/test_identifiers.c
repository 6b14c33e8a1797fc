#include "base/timestamp.h"
#include "base/uuid.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_time(const char *text, const char *normal) {
  int64_t us = 0;
  char formatted[TIMESTAMP_TEXT_SIZE];
  assert_true(timestamp_parse(str_z(text), &us));
  timestamp_format(us, formatted);
  assert_string_equal(formatted, normal);
}

static void times_are_read_and_written(void **state) {
  (void)state;
  expect_time("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z");
  expect_time("2026-11-23T07:52:25.123456789Z", "2026-11-23T07:52:25.123456Z");
  expect_time("2026-11-23T07:52:25.5+02:30", "2026-11-23T05:22:25.500000Z");
  expect_time("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z");
  expect_time("2024-02-29t23:59:59z", "2024-02-29T23:59:59.000000Z");
  expect_time("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z");
  expect_time("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z");
  expect_time("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z");
  expect_time("1600-03-01 00:00:00-00:01", "1600-03-01T00:01:00.000000Z");
}

static void what_is_no_time_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "2026",
                                    "2026-11-23",
                                    "2026-11-23T07:52",
                                    "2026-11-23T07:52:25",
                                    "2026-13-01T00:00:00Z",
                                    "2026-00-01T00:00:00Z",
                                    "2025-02-29T00:00:00Z",
                                    "1900-02-29T00:00:00Z",
                                    "2026-04-31T00:00:00Z",
                                    "2026-11-23T24:00:00Z",
                                    "2026-11-23T07:60:00Z",
                                    "2026-11-23T07:52:60Z",
                                    "2026-11-23T07:52:25.Z",
                                    "2026-11-23T07:52:25.1234567890Z",
                                    "2026-11-23T07:52:25Zx",
                                    "2026-11-23T07:52:25+24:00",
                                    "2026-11-23T07:52:25+0100",
                                    "0000-01-01T00:00:00Z",
                                    "0001-01-01T00:00:00+00:01",
                                    "9999-12-31T23:59:59-00:01",
                                    "-026-11-23T07:52:25Z"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    int64_t us = 0;
    if (timestamp_parse(str_z(bad[i]), &us))
      fail_msg("accepted %s", bad[i]);
  }
}

static void months_follow_one_another_without_gap(void **state) {
  (void)state;
  int first = timestamp_month(TIMESTAMP_MIN_US);
  int last = timestamp_month(TIMESTAMP_MAX_US);
  assert_int_equal(last - first + 1, 9999 * 12);
  for (int month = first; month <= last; month++) {
    int64_t start = timestamp_month_start_us(month);
    assert_int_equal(timestamp_month(start), month);
    if (month > first)
      assert_int_equal(timestamp_month(start - 1), month - 1);
  }
}

static void month_starts_are_the_calendar_s(void **state) {
  (void)state;
  int64_t us = 0;
  assert_true(timestamp_parse(str_z("2027-01-01T00:00:00Z"), &us));
  int month = timestamp_month(us);
  assert_int_equal(month, 2027 * 12);
  assert_true(timestamp_month_start_us(month) == us);
  assert_true(timestamp_parse(str_z("2026-12-31T23:59:59.999999Z"), &us));
  assert_int_equal(timestamp_month(us), month - 1);
}

static void uuids_are_read_in_either_case_and_written_lower(void **state) {
  (void)state;
  struct uuid uuid;
  char text[UUID_TEXT_LEN];
  assert_true(uuid_parse(str_z("01890A5D-ac96-774B-bcce-B302099a8057"), &uuid));
  uuid_format(&uuid, text);
  assert_memory_equal(text, "01890a5d-ac96-774b-bcce-b302099a8057", UUID_TEXT_LEN);
}

static void what_is_no_uuid_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "01890a5dac96774bbcceb302099a8057",
                                    "01890a5d-ac96-774b-bcce-b302099a805",
                                    "01890a5d-ac96-774b-bcce-b302099a80577",
                                    "g1890a5d-ac96-774b-bcce-b302099a8057",
                                    "01890a5d_ac96-774b-bcce-b302099a8057",
                                    "01890a5-dac96-774b-bcce-b302099a8057",
                                    "{01890a5d-ac96-774b-bcce-b302099a8057}"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct uuid uuid;
    assert_false(uuid_parse(str_z(bad[i]), &uuid));
  }
}

/* Each of the 256 at the place of a high and of a low digit, and of a dash. */
static void a_uuid_is_made_of_hex_digits_and_dashes(void **state) {
  (void)state;
  char text[] = "01890a5d-ac96-774b-bcce-b302099a8057";
  static const size_t places[] = {0, 8, 35};
  for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
    char good = text[places[p]];
    for (int c = 0; c < 256; c++) {
      struct uuid uuid;
      bool may_be = good == '-' ? c == '-' : isxdigit(c) != 0;
      text[places[p]] = (char)c;
      assert_int_equal(uuid_parse(str_of(text, UUID_TEXT_LEN), &uuid), may_be);
    }
    text[places[p]] = good;
  }
}

static void version_7_rises_also_when_the_clock_steps_back(void **state) {
  (void)state;
  struct uuid_v7 generator = {0};
  struct uuid last = {0};
  for (int i = 0; i < 200000; i++) {
    int64_t now = 1767225600000000LL + (i / 5000) * 1000LL - (i > 100000 ? 5000000 : 0);
    struct uuid uuid = uuid_v7_next(&generator, now);
    assert_int_equal(uuid.bytes[6] >> 4, 7);
    assert_int_equal(uuid.bytes[8] >> 6, 2);
    assert_true(memcmp(uuid.bytes, last.bytes, 16) > 0);
    last = uuid;
  }
}

static void version_7_tells_the_time(void **state) {
  (void)state;
  struct uuid_v7 generator = {0};
  struct uuid uuid = uuid_v7_next(&generator, 1767225600123456LL);
  uint64_t ms = 0;
  for (int i = 0; i < 6; i++)
    ms = ms << 8 | uuid.bytes[i];
  assert_true(ms == 1767225600123ULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_are_read_and_written),
      cmocka_unit_test(what_is_no_time_is_refused),
      cmocka_unit_test(months_follow_one_another_without_gap),
      cmocka_unit_test(month_starts_are_the_calendar_s),
      cmocka_unit_test(uuids_are_read_in_either_case_and_written_lower),
      cmocka_unit_test(what_is_no_uuid_is_refused),
      cmocka_unit_test(a_uuid_is_made_of_hex_digits_and_dashes),
      cmocka_unit_test(version_7_rises_also_when_the_clock_steps_back),
      cmocka_unit_test(version_7_tells_the_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
