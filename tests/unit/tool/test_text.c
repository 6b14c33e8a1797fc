/* Texts from elsewhere, on a terminal: what acts on it and what can't be seen is shown as an
 * escape. */
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

static void expect(const char *text, const char *wanted) {
  char *escaped = text_escape(text);
  assert_string_equal(escaped, wanted);
  free(escaped);
}

static void what_is_seen_stays_as_it_is(void **state) {
  (void)state;
  const char *texts[] = {"alice@example.com", "zo\u00eb \u6f22\u5b57 \u05d0\u0628 \u0e01\u0e34",
                         "\U0001f600\u2192\u2026\u00a0\u3000", "a\\u200bb", "\uFFFD"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
    expect(texts[i], texts[i]);
}

static void what_acts_on_a_terminal_is_escaped(void **state) {
  (void)state;
  expect("\x1b[2J\x07\n\t\x7f", "\\u001b[2J\\u0007\\u000a\\u0009\\u007f");
  expect(
      "\xC2\x85\xC2\x9b"
      "31m",
      "\\u0085\\u009b31m");
  expect("\u202e\u2066\u200f\u061c\u2028", "\\u202e\\u2066\\u200f\\u061c\\u2028");
}

static void what_cant_be_seen_is_escaped(void **state) {
  (void)state;
  expect("ali\u200bce", "ali\\u200bce");
  expect("\u200c\u200d\u2060\u2063\ufeff\u00ad", "\\u200c\\u200d\\u2060\\u2063\\ufeff\\u00ad");
  expect("\u034f\u180e\ufe0f\u3164\uffa0\u115f", "\\u034f\\u180e\\ufe0f\\u3164\\uffa0\\u115f");
  expect("\U000e0001\U000e0061\U0001d173\U000e01ef",
         "\\udb40\\udc01\\udb40\\udc61\\ud834\\udd73\\udb40\\uddef");
}

static void a_cell_counts_what_is_shown(void **state) {
  (void)state;
  char *escaped = text_escape("a\u200bb");
  assert_int_equal(text_width(escaped), 8);
  free(escaped);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_seen_stays_as_it_is),
      cmocka_unit_test(what_acts_on_a_terminal_is_escaped),
      cmocka_unit_test(what_cant_be_seen_is_escaped),
      cmocka_unit_test(a_cell_counts_what_is_shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
