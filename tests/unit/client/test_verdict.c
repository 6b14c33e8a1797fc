/* What the publisher makes of a store's codes. */
#include "verdict.h"

#include "auditstore/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void what_time_or_an_operator_mends_is_never_held_against_an_event(void **state) {
  static const int codes[] = {AUDITSTORE_CANCELLED,      AUDITSTORE_DEADLINE_EXCEEDED,
                              AUDITSTORE_ABORTED,        AUDITSTORE_RESOURCE_EXHAUSTED,
                              AUDITSTORE_UNAVAILABLE,    AUDITSTORE_PERMISSION_DENIED,
                              AUDITSTORE_UNAUTHENTICATED};
  (void)state;
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
    assert_int_equal(verdict_of_event(codes[i]), VERDICT_WAITS);
    assert_int_equal(verdict_of_batch(codes[i]), VERDICT_WAITS);
    assert_int_equal(verdict_of_stream(codes[i]), VERDICT_WAITS);
  }
}

static void no_event_is_repeated_for_ever_because_of_a_code_that_nobody_knows(void **state) {
  static const int codes[] = {INT32_MIN, -1, 17, 99, INT32_MAX};
  (void)state;
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
    assert_int_equal(verdict_of_event(codes[i]), VERDICT_FAILED);
    assert_int_equal(verdict_of_batch(codes[i]), VERDICT_FAILED);
  }
}

static void another_server_costs_no_event(void **state) {
  (void)state;
  assert_int_equal(verdict_of_batch(AUDITSTORE_UNIMPLEMENTED), VERDICT_WAITS);
  assert_int_equal(verdict_of_stream(AUDITSTORE_UNIMPLEMENTED), VERDICT_WAITS);
  assert_int_equal(verdict_of_stream(AUDITSTORE_NOT_FOUND), VERDICT_WAITS);
  assert_int_equal(verdict_of_stream(AUDITSTORE_UNKNOWN), VERDICT_WAITS);
}

static void only_what_is_said_of_an_event_is_final_at_once_by_a_precondition(void **state) {
  (void)state;
  assert_int_equal(verdict_of_event(AUDITSTORE_FAILED_PRECONDITION), VERDICT_FINAL);
  assert_int_equal(verdict_of_batch(AUDITSTORE_FAILED_PRECONDITION), VERDICT_FAILED);
  assert_int_equal(verdict_of_stream(AUDITSTORE_FAILED_PRECONDITION), VERDICT_FAILED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_time_or_an_operator_mends_is_never_held_against_an_event),
      cmocka_unit_test(no_event_is_repeated_for_ever_because_of_a_code_that_nobody_knows),
      cmocka_unit_test(another_server_costs_no_event),
      cmocka_unit_test(only_what_is_said_of_an_event_is_final_at_once_by_a_precondition),
  };
  return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
