#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct str s(const char *text) {
  return str_z(text);
}

static void valid_utf8_is_taken_whole(void **state) {
  (void)state;
  static const char *const good[] = {"",
                                     "a",
                                     "plain ascii, longer than eight bytes",
                                     "\xc2\x80",
                                     "\xdf\xbf",
                                     "\xe0\xa0\x80",
                                     "\xed\x9f\xbf",
                                     "\xee\x80\x80",
                                     "\xef\xbf\xbf",
                                     "\xf0\x90\x80\x80",
                                     "\xf4\x8f\xbf\xbf",
                                     "12345678\xc3\xa9-2345678"};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    assert_int_equal(utf8_valid_prefix(s(good[i])), strlen(good[i]));
}

static void invalid_utf8_is_found_where_it_begins(void **state) {
  (void)state;
  static const char *const bad[] = {"\x80",
                                    "\xc0\x80",
                                    "\xc1\xbf",
                                    "\xc2",
                                    "\xe0\x9f\xbf",
                                    "\xed\xa0\x80",
                                    "\xf0\x8f\xbf\xbf",
                                    "\xf4\x90\x80\x80",
                                    "\xf5\x80\x80\x80",
                                    "\xff",
                                    "\xe2\x82",
                                    "\xf0\x90\x80",
                                    "\xc3("};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    char text[64];
    assert_int_equal(utf8_valid_prefix(s(bad[i])), 0);
    /* Behind ASCII of every length, so that the fast path ends at every place of its word. */
    for (int lead = 1; lead < 20; lead++) {
      snprintf(text, sizeof(text), "%.*s%s", lead, "aaaaaaaaaaaaaaaaaaaa", bad[i]);
      assert_int_equal(utf8_valid_prefix(s(text)), lead);
    }
  }
}

static void nul_is_not_storable(void **state) {
  (void)state;
  assert_true(utf8_is_storable(s("text")));
  assert_true(utf8_is_storable(str_of(NULL, 0)));
  assert_false(utf8_is_storable(str_of("a\0b", 3)));
  assert_false(utf8_is_storable(s("\xff")));
}

static void equality_compares_bytes(void **state) {
  (void)state;
  assert_true(str_equal(s("ab"), str_of("abc", 2)));
  assert_true(str_equal(str_of(NULL, 0), s("")));
  assert_false(str_equal(s("ab"), s("ac")));
  assert_false(str_equal(s("ab"), s("abc")));
}

static void lines_are_cut_at_their_ends(void **state) {
  (void)state;
  struct str rest = s("one\n\nthree");
  struct str line = {0};
  assert_true(str_cut_line(&rest, &line));
  assert_true(str_equal(line, s("one")));
  assert_true(str_cut_line(&rest, &line));
  assert_true(str_equal(line, s("")));
  assert_false(str_cut_line(&rest, &line));
  assert_true(str_equal(rest, s("three")));
  rest = str_of(NULL, 0);
  assert_false(str_cut_line(&rest, &line));
}

static void numbers_are_cut_up_to_the_largest(void **state) {
  (void)state;
  struct str rest = s("9223372036854775807 left");
  int64_t number = 0;
  assert_true(str_cut_number(&rest, &number));
  assert_int_equal(number, INT64_MAX);
  assert_true(str_equal(rest, s(" left")));
  static const char *const none[] = {"", "-1", "+1", " 1", "x", "9223372036854775808"};
  for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
    rest = s(none[i]);
    assert_false(str_cut_number(&rest, &number));
    assert_true(str_equal(rest, s(none[i])));
    assert_int_equal(number, INT64_MAX);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(valid_utf8_is_taken_whole),
      cmocka_unit_test(invalid_utf8_is_found_where_it_begins),
      cmocka_unit_test(nul_is_not_storable),
      cmocka_unit_test(equality_compares_bytes),
      cmocka_unit_test(lines_are_cut_at_their_ends),
      cmocka_unit_test(numbers_are_cut_up_to_the_largest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
