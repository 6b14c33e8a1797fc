#include "base/clock.h"
#include "base/reminder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MINUTE_US (60 * CLOCK_US_PER_S)

/* The minutes, from the first on, in which a trouble is told that is met twice a second. */
static int told_in(struct reminder *reminder, const char *const texts[2], int minutes,
                   int *ret_at) {
  int count = 0;
  for (int64_t us = 0; us <= minutes * MINUTE_US; us += CLOCK_US_PER_S / 2) {
    const char *text = texts[us / (CLOCK_US_PER_S / 2) % 2];
    if (reminder_is_due(reminder, text, 1000 + us))
      ret_at[count++] = (int)(us / MINUTE_US);
  }
  return count;
}

static void a_lasting_trouble_is_told_at_growing_intervals(void **state) {
  (void)state;
  static const char *const texts[] = {"refused", "refused"};
  static const int expected[] = {0, 1, 2, 5, 10, 20, 30, 40};
  struct reminder reminder = {0};
  int at[64];
  assert_int_equal(told_in(&reminder, texts, 45, at), 8);
  assert_memory_equal(at, expected, sizeof(expected));
}

static void another_kind_is_told_at_once(void **state) {
  (void)state;
  struct reminder reminder = {0};
  assert_true(reminder_is_due(&reminder, "refused", 10));
  assert_false(reminder_is_due(&reminder, "refused", 20));
  assert_true(reminder_is_due(&reminder, "wrong password", 30));
  assert_false(reminder_is_due(&reminder, "wrong password", 40));
  assert_false(reminder_is_due(&reminder, "refused", 50));
}

static void kinds_that_take_turns_are_told_once_each(void **state) {
  (void)state;
  static const char *const texts[] = {"refused", "starting up"};
  static const int expected[] = {0, 0, 1, 2, 5};
  struct reminder reminder = {0};
  int at[64];
  assert_int_equal(told_in(&reminder, texts, 9, at), 5);
  assert_memory_equal(at, expected, sizeof(expected));
}

static void ever_new_kinds_are_told_a_few_times(void **state) {
  (void)state;
  struct reminder reminder = {0};
  int told = 0;
  for (int i = 0; i < 1000; i++) {
    char text[400];
    snprintf(text, sizeof(text), "%300d: refused", i);
    told += reminder_is_due(&reminder, text + i % 100, 1000 + i);
  }
  assert_int_equal(told, REMINDER_KINDS);
}

static void after_its_end_the_next_trouble_is_news(void **state) {
  (void)state;
  struct reminder reminder = {0};
  assert_true(reminder_is_due(&reminder, "refused", 10));
  reminder_end(&reminder);
  assert_true(reminder_is_due(&reminder, "refused", 20));
  assert_false(reminder_is_due(&reminder, "refused", 20 + MINUTE_US - 1));
  assert_true(reminder_is_due(&reminder, "refused", 20 + MINUTE_US));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_lasting_trouble_is_told_at_growing_intervals),
      cmocka_unit_test(another_kind_is_told_at_once),
      cmocka_unit_test(kinds_that_take_turns_are_told_once_each),
      cmocka_unit_test(ever_new_kinds_are_told_a_few_times),
      cmocka_unit_test(after_its_end_the_next_trouble_is_news),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
