/* Which header fields a request may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grpc/fields.h"

struct field {
  const char *name;
  const char *value;
};

#define GOOD                                                                                       \
  {":method", "POST"}, {":scheme", "http"}, {":path", "/a/b"}, {                                   \
    ":authority", "here"                                                                           \
  }

static struct grpc_fields take_all(const struct field *list) {
  struct grpc_fields fields = {0};
  for (; list->name; list++)
    (void)grpc_fields_take(&fields, str_z(list->name), str_z(list->value));
  grpc_fields_complete(&fields);
  return fields;
}

static void everyday_requests_are_taken(void **state) {
  (void)state;
  static const struct field lists[][9] = {
      {GOOD, {"te", "trailers"}, {"content-type", "application/grpc"}, {"x", ""}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "here"}},
      {{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {"host", "here"}},
      {GOOD, {"host", "here"}, {"content-length", "5"}},
  };
  for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
    struct grpc_fields fields = take_all(lists[i]);
    assert_null(fields.fault);
    assert_true(fields.has_host && !fields.is_host_bad);
  }
}

static void what_breaks_a_rule_has_a_fault(void **state) {
  (void)state;
  static const struct field lists[][9] = {
      {{":method", "POST"}, {":scheme", "http"}},
      {{":scheme", "http"}, {":path", "/"}},
      {{":method", "POST"}, {":path", "/"}},
      {GOOD, {":path", "/again"}},
      {GOOD, {":status", "200"}},
      {{"x", "y"}, GOOD},
      {GOOD, {"X", "y"}},
      {GOOD, {"", "y"}},
      {GOOD, {"connection", "close"}},
      {GOOD, {"transfer-encoding", "chunked"}},
      {GOOD, {"te", "gzip"}},
      {GOOD, {"host", "here"}, {"host", "here"}},
      {GOOD, {"content-length", "many"}},
      {GOOD, {"content-length", ""}},
      {GOOD, {"content-length", "1"}, {"content-length", "1"}},
      {GOOD, {"content-length", "99999999999999999999999"}},
      {{":method", "POST"}, {":scheme", "http"}, {":path", "a/b"}},
      {{":method", "PO ST"}, {":scheme", "http"}, {":path", "/a"}},
      {{":method", "POST"}, {":scheme", ""}, {":path", "/a"}},
  };
  for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
    assert_non_null(take_all(lists[i]).fault);
}

static void a_request_without_a_host_is_told_from_a_broken_one(void **state) {
  (void)state;
  static const struct field none[] = {
      {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {NULL, NULL}};
  static const struct field path[] = {{":method", "GET"},
                                      {":scheme", "http"},
                                      {":path", "/"},
                                      {":authority", "/run/x.sock"},
                                      {NULL, NULL}};
  assert_null(take_all(none).fault);
  assert_false(take_all(none).has_host);
  assert_null(take_all(path).fault);
  assert_true(take_all(path).is_host_bad);
}

static void fields_that_are_no_text_are_passed_over(void **state) {
  (void)state;
  struct grpc_fields fields = {0};
  assert_false(grpc_fields_take(&fields, str_z("x"), str_z("a\nb")));
  assert_false(grpc_fields_take(&fields, str_z("x y"), str_z("a")));
  assert_true(grpc_fields_take(&fields, str_z("x"), str_z("a")));
  assert_null(fields.fault);
}

static void the_length_is_compared_at_the_end(void **state) {
  (void)state;
  static const struct field list[] = {GOOD, {"content-length", "5"}, {NULL, NULL}};
  struct grpc_fields fields = take_all(list);
  fields.received = 5;
  grpc_fields_end(&fields);
  assert_null(fields.fault);
  fields.received = 6;
  grpc_fields_end(&fields);
  assert_non_null(fields.fault);
}

static void trailers_have_rules_too(void **state) {
  (void)state;
  static const char *const bad[] = {":path", "Upper", "", "connection"};
  for (size_t i = 0; i < 4; i++) {
    struct grpc_fields fields = {0};
    grpc_fields_take_trailer(&fields, str_z("fine"));
    assert_null(fields.fault);
    grpc_fields_take_trailer(&fields, str_z(bad[i]));
    assert_non_null(fields.fault);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everyday_requests_are_taken),
      cmocka_unit_test(what_breaks_a_rule_has_a_fault),
      cmocka_unit_test(a_request_without_a_host_is_told_from_a_broken_one),
      cmocka_unit_test(fields_that_are_no_text_are_passed_over),
      cmocka_unit_test(the_length_is_compared_at_the_end),
      cmocka_unit_test(trailers_have_rules_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
