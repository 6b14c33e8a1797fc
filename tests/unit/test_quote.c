/*
 * Values from elsewhere in messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/quote.h"

static void expect(struct str text, const char *expected) {
  char quoted[QUOTE_SIZE];
  memset(quoted, 'x', sizeof(quoted));
  assert_ptr_equal(quote(text, quoted), quoted);
  assert_string_equal(quoted, expected);
}

static void printable_ascii_stands_as_it_is(void **state) {
  (void)state;
  expect(str_z("10.0.0.1:80"), "\"10.0.0.1:80\"");
  expect(str_z(""), "\"\"");
  expect(str_of(NULL, 0), "\"\"");
  expect(str_z(" ~"), "\" ~\"");
}

static void everything_else_is_escaped(void **state) {
  (void)state;
  expect(str_z("a\"b\\c"), "\"a\\\"b\\\\c\"");
  expect(str_of("a\0b", 3), "\"a\\x00b\"");
  expect(str_z("\x1b[2J\r\n\x7f"), "\"\\x1b[2J\\x0d\\x0a\\x7f\"");
  expect(str_z("\u202e\xFF"), "\"\\xe2\\x80\\xae\\xff\"");
}

/* Whatever it is made of, it fits, ends in a mark, and is cut between what stands for two bytes. */
static void what_is_too_long_is_cut_between_bytes(void **state) {
  (void)state;
  static const char bytes[] = {'a', '"', '\n'};
  char text[300];
  for (size_t b = 0; b < sizeof(bytes); b++) {
    memset(text, bytes[b], sizeof(text));
    for (size_t len = 0; len < sizeof(text); len++) {
      char quoted[QUOTE_SIZE];
      size_t step = b == 0 ? 1 : b == 1 ? 2 : 4;
      quote(str_of(text, len), quoted);
      size_t shown = strlen(quoted);
      assert_in_range(shown, 2, QUOTE_SIZE - 1);
      if (shown == len * step + 2)
        continue;
      assert_string_equal(quoted + shown - 4, "...\"");
      assert_int_equal((shown - 5) % step, 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(printable_ascii_stands_as_it_is),
      cmocka_unit_test(everything_else_is_escaped),
      cmocka_unit_test(what_is_too_long_is_cut_between_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
