/*
 * Texts in JSON: what is escaped, and where they are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_text.h"

/* With room for `max` bytes. */
static void expect(struct str text, size_t max, bool is_whole, const char *expected) {
  struct buf out;
  buf_init(&out, max);
  assert_int_equal(json_text_append(&out, text), is_whole);
  assert_int_equal(buf_len(&out), strlen(expected));
  if (expected[0])
    assert_memory_equal(buf_bytes(&out), expected, strlen(expected));
  buf_deinit(&out);
}

static void what_json_does_not_take_is_escaped(void **state) {
  (void)state;
  expect(str_z(""), 100, true, "");
  expect(str_z("plain / text"), 100, true, "plain / text");
  expect(str_z("a\"b\\c"), 100, true, "a\\\"b\\\\c");
  expect(str_z("\n\t\x7f"), 100, true, "\\n\\u0009\\u007f");
  expect(str_of("\0", 1), 100, true, "\\u0000");
  expect(str_z("\xc2\x85"), 100, true, "\\u0085");
  expect(str_z("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), 100, true,
         "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void what_is_no_utf8_is_replaced(void **state) {
  (void)state;
  expect(str_z("a\xff\xc3"), 100, true, "a\xef\xbf\xbd\xef\xbf\xbd");
}

static void it_is_cut_between_characters(void **state) {
  (void)state;
  expect(str_z("ab\xc3\xa4"), 3, false, "ab");
  expect(str_z("ab\""), 3, false, "ab");
  expect(str_z("ab\xff"), 3, false, "ab");
}

/* What a caller makes room for by JSON_TEXT_GROWTH. */
static void no_byte_takes_more_than_it_is_said_to(void **state) {
  (void)state;
  for (int i = 0; i < 256; i++) {
    struct buf out;
    char c = (char)i;
    buf_init(&out, JSON_TEXT_GROWTH);
    assert_true(json_text_append(&out, str_of(&c, 1)));
    buf_deinit(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_json_does_not_take_is_escaped),
      cmocka_unit_test(what_is_no_utf8_is_replaced),
      cmocka_unit_test(it_is_cut_between_characters),
      cmocka_unit_test(no_byte_takes_more_than_it_is_said_to),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
