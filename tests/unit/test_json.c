/*
 * The check of event_data: one strict JSON object that PostgreSQL can also turn into jsonb.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ingest/json.h"

#define DEPTH 10

static bool is_good(struct str text) {
  struct json_problem problem;
  if (json_check_object(text, DEPTH, &problem))
    return true;
  assert_true(problem.offset <= text.len);
  assert_int_equal(problem.fault == JSON_MALFORMED, problem.what != NULL);
  assert_int_equal(problem.fault == JSON_TOO_DEEP, problem.depth > DEPTH);
  return false;
}

static const char *const good_json[] = {
    "{}",
    " \t\r\n{ } \n",
    "{\"a\":1}",
    "{\"a\":[],\"b\":{},\"c\":null,\"d\":true,\"e\":false}",
    "{\"a\":[1,-0,0.5,1e5,1E+5,-1.25e-300,123456789012345678901234567890,1e400]}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"}",
    "{\"a\":\"\\ud83d\\uDE00\"}",
    "{\"\":\"\x7f\xC3\xA4\xF0\x9F\x98\x80\"}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":[[[[[[[[[1]]]]]]]]]}", /* 10 levels */
    "{\"a\":{\"b\":[{\"c\":[]},{}]}}",
};

static const char *const bad_json[] = {
    " ",
    "1",
    "[1]",
    "\"a\"",
    "null",
    "{",
    "}",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":}",
    "{\"a\":1",
    "{\"a\":1,}",
    "{,}",
    "{\"a\":[1,]}",
    "{\"a\":[,1]}",
    "{\"a\":[1}",
    "{\"a\":[1 2]}",
    "{\"a\" 1}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\":01}",
    "{\"a\":-01}",
    "{\"a\":+1}",
    "{\"a\":.5}",
    "{\"a\":1.}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":-}",
    "{\"a\":0x1}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":tru}",
    "{\"a\":truee}",
    "{\"a\":True}",
    "{\"a\":nul",
    "{\"a\":\"}",
    "{\"a\":\"\\\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"\\u0000\"}",
    "{\"\\u0000\":1}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\udc00\"}",
    "{\"a\":\"\\ud800\\u0041\"}",
    "{\"a\":\"\\ud800\\ud800\"}",
    "{\"a\":\"\\ud800x\"}",
    "{\"a\":\"\\ud83d",
    "{\"a\":\"\t\"}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\x1f\"}",
    "{\"a\":\"\xC3\"}",
    "{\"a\":\"\xED\xA0\x80\"}",
    "{\"a\":\"\xC0\x80\"}",
    "{\"a\":\"\xF4\x90\x80\x80\"}",
    "\xEF\xBB\xBF{}",
    "\f{}",
    "\xC2\xA0{}",
    "{} x",
    "{}{}",
    "{}]",
    "{\"a\":/*c*/1}",
    "{\"a\":1}//c",
    "{\"a\":[[[[[[[[[[1]]]]]]]]]]}", /* 11 levels */
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}",
};

static void strict_objects_are_accepted(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(good_json) / sizeof(good_json[0]); i++) {
    if (!is_good(str_z(good_json[i])))
      fail_msg("refused: %s", good_json[i]);
  }
}

static void anything_else_is_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(bad_json) / sizeof(bad_json[0]); i++) {
    if (is_good(str_z(bad_json[i])))
      fail_msg("accepted: %s", bad_json[i]);
  }
  assert_false(is_good(str_of("", 0)));
  assert_false(is_good(str_of("{\0}", 3)));
  assert_false(is_good(str_of("{}\0", 3)));
  assert_false(is_good(str_of("{\"\0\":1}", 7)));
}

/* Each beginning of a good text is bad, and is read no further than it goes: the copy ends where
 * its memory ends. */
static void a_text_cut_anywhere_is_refused(void **state) {
  (void)state;
  const char *whole = "{\"a\":[1.5e+3,\"\\ud83d\\ude00\\n\",{\"b\":true}],\"c\":null,\"d\":false}";
  assert_true(is_good(str_z(whole)));
  for (size_t len = 1; len < strlen(whole); len++) {
    char *copy = xmalloc(len);
    memcpy(copy, whole, len);
    assert_false(is_good(str_of(copy, len)));
    free(copy);
  }
}

static void expect_fault(const char *text, enum json_fault fault, size_t offset) {
  struct json_problem problem;
  assert_false(json_check_object(str_z(text), DEPTH, &problem));
  if (problem.fault != fault || problem.offset != offset)
    fail_msg("%s: fault %d at %zu", text, (int)problem.fault, problem.offset);
}

static void nesting_is_counted_from_the_object_itself(void **state) {
  (void)state;
  struct json_problem problem;
  assert_true(json_check_object(str_z("{}"), 1, &problem));
  assert_false(json_check_object(str_z("{\"a\":[]}"), 1, &problem));
  char deep[2 * JSON_MAX_DEPTH + 8] = "{\"a\":";
  size_t len = strlen(deep);
  memset(deep + len, '[', JSON_MAX_DEPTH - 1);
  memset(deep + len + JSON_MAX_DEPTH - 1, ']', JSON_MAX_DEPTH - 1);
  strncat(deep, "}", 2);
  assert_true(json_check_object(str_z(deep), JSON_MAX_DEPTH, &problem));
  assert_false(json_check_object(str_z(deep), JSON_MAX_DEPTH - 1, &problem));
  assert_int_equal(problem.fault, JSON_TOO_DEEP);
  assert_int_equal(problem.depth, JSON_MAX_DEPTH);
}

static void what_is_too_deep_is_measured_to_its_end(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int depth;
  } cases[] = {
      {"{\"a\":[[]]}", 3},
      {"{\"a\":{\"b\":{}},\"c\":[[[[1]]]]}", 5},
      {"{\"[[[[\":[{\"\\\"{{{{\":\"}}\\\\\"}]}", 3}, /* brackets in texts don't count */
      {"{\"a\":[[[[[[[", 8},
      {"{\"a\":[[]]]]]]]]]]]]]]", 3},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct json_problem problem;
    assert_false(json_check_object(str_z(cases[i].text), 2, &problem));
    assert_int_equal(problem.fault, JSON_TOO_DEEP);
    assert_int_equal(problem.depth, cases[i].depth);
  }
}

static void a_problem_is_located(void **state) {
  (void)state;
  expect_fault("{\"a\":x}", JSON_MALFORMED, 5);
  expect_fault("{\"a\":\"\xFF\"}", JSON_NOT_UTF8, 6);
  expect_fault("  [1]", JSON_NOT_AN_OBJECT, 2);
  expect_fault("\xEF\xBB\xBF{}", JSON_NOT_AN_OBJECT, 0);
  expect_fault(" ", JSON_NOT_AN_OBJECT, 1);
}

/* What is JSON all the same isn't called malformed, and the escape itself is what is found. */
static void what_only_postgresql_refuses_is_told_from_what_is_no_json(void **state) {
  (void)state;
  expect_fault("{\"a\":\"x\\u0000\"}", JSON_NUL, 7);
  expect_fault("{\"\\u0000\":1}", JSON_NUL, 2);
  expect_fault("{\"a\":\"\\ud800\"}", JSON_SURROGATE, 6);
  expect_fault("{\"a\":\"\\uDC00\\ud800\"}", JSON_SURROGATE, 6);
  expect_fault("{\"a\":\"\\ud83d\\u0041\"}", JSON_SURROGATE, 6);
  expect_fault("{\"a\":\"\\u00\"}", JSON_MALFORMED, 8);
  expect_fault("{\"a\":\"a\nb\"}", JSON_MALFORMED, 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strict_objects_are_accepted),
      cmocka_unit_test(anything_else_is_refused),
      cmocka_unit_test(a_text_cut_anywhere_is_refused),
      cmocka_unit_test(nesting_is_counted_from_the_object_itself),
      cmocka_unit_test(what_is_too_deep_is_measured_to_its_end),
      cmocka_unit_test(a_problem_is_located),
      cmocka_unit_test(what_only_postgresql_refuses_is_told_from_what_is_no_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
