#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "google/rpc/error_details.pb-c.h"
#include "grpc/status.h"

static void assert_binary(ProtobufCBinaryData data, const char *text) {
  assert_int_equal(data.len, strlen(text));
  if (data.len > 0)
    assert_memory_equal(data.data, text, data.len);
}

static void code_and_message_are_kept(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_NOT_FOUND, "no event %d", 7);
  assert_int_equal(grpc_status_code(s), GRPC_NOT_FOUND);
  assert_string_equal(grpc_status_message(s), "no event 7");
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->code, 5);
  assert_binary(proto->message, "no event 7");
  assert_int_equal(proto->n_details, 0);
  grpc_status_free(s);
  grpc_status_free(NULL);
}

static void long_or_broken_messages_end_at_a_whole_character(void **state) {
  (void)state;
  char text[5001];
  memset(text, 'm', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  struct grpc_status *s = grpc_status_new(GRPC_INTERNAL, "%s", text);
  assert_in_range(strlen(grpc_status_message(s)), 1000, 4096);
  grpc_status_free(s);
  for (size_t i = 0; i + 3 < sizeof(text); i += 3)
    memcpy(text + i, "\xe2\x98\xba", 3);
  s = grpc_status_new(GRPC_INTERNAL, "%s", text);
  assert_int_equal(strlen(grpc_status_message(s)) % 3, 0);
  grpc_status_free(s);
}

static void violations_become_a_bad_request(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_INVALID_ARGUMENT, "2 fields are wrong");
  grpc_status_violate(&s, "events[0].actor.id", "is longer than %d", 255);
  grpc_status_violate(&s, "events[1].event_type", "is empty");
  assert_int_equal(grpc_status_violation_count(s), 2);
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->n_details, 1);
  assert_binary(proto->details[0]->type_url, "type.googleapis.com/google.rpc.BadRequest");
  Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(bad);
  assert_int_equal(bad->n_field_violations, 2);
  assert_binary(bad->field_violations[0]->field, "events[0].actor.id");
  assert_binary(bad->field_violations[0]->description, "is longer than 255");
  assert_binary(bad->field_violations[1]->field, "events[1].event_type");
  google__rpc__bad_request__free_unpacked(bad, NULL);
  grpc_status_free(s);
}

static void the_message_is_the_first_violation_and_how_many_follow(void **state) {
  (void)state;
  struct grpc_status *s = NULL;
  grpc_status_violate(&s, "events[3].actor.ip", "%s has a port", "\"10.0.0.1:80\"");
  assert_int_equal(grpc_status_code(s), GRPC_INVALID_ARGUMENT);
  assert_string_equal(grpc_status_message(s), "events[3].actor.ip: \"10.0.0.1:80\" has a port");
  grpc_status_violate(&s, "events[4].outcome", "is required");
  assert_string_equal(grpc_status_message(s),
                      "events[3].actor.ip: \"10.0.0.1:80\" has a port (and 1 more)");
  grpc_status_violate(&s, "events[5].outcome", "is required");
  assert_string_equal(grpc_status_message(s),
                      "events[3].actor.ip: \"10.0.0.1:80\" has a port (and 2 more)");
  grpc_status_free(s);
}

static void a_status_with_a_text_of_its_own_keeps_it(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_RESOURCE_EXHAUSTED, "the quota is used up");
  grpc_status_violate(&s, "batch_id", "is too long");
  grpc_status_violate(&s, "batch_id", "is too long");
  assert_int_equal(grpc_status_code(s), GRPC_RESOURCE_EXHAUSTED);
  assert_string_equal(grpc_status_message(s), "the quota is used up");
  assert_int_equal(grpc_status_violation_count(s), 2);
  grpc_status_free(s);
}

static void violations_beyond_the_maximum_are_counted_in_the_message(void **state) {
  (void)state;
  struct grpc_status *s = NULL;
  for (int i = 0; i < GRPC_STATUS_MAX_VIOLATIONS + 15; i++)
    grpc_status_violate(&s, "f", "wrong");
  assert_string_equal(grpc_status_message(s), "f: wrong (and 34 more)");
  assert_int_equal(grpc_status_violation_count(s), GRPC_STATUS_MAX_VIOLATIONS + 15);
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(bad);
  assert_int_equal(bad->n_field_violations, GRPC_STATUS_MAX_VIOLATIONS);
  google__rpc__bad_request__free_unpacked(bad, NULL);
  grpc_status_free(s);
}

static void huge_violations_are_clipped(void **state) {
  (void)state;
  char text[100000];
  memset(text, 'v', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  struct grpc_status *s = NULL;
  for (int i = 0; i < 100; i++)
    grpc_status_violate(&s, text, "%s", text);
  assert_in_range(strlen(grpc_status_message(s)), 256, 1024);
  grpc_status_set_resource(s, text, str_z(text), text);
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->n_details, 2);
  assert_true(google__rpc__status__get_packed_size(proto) < 32768);
  grpc_status_free(s);
}

static void retry_delay_becomes_a_retry_info(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_UNAVAILABLE, "busy");
  grpc_status_set_retry_delay(s, 2500000);
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->n_details, 1);
  assert_binary(proto->details[0]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
  Google__Rpc__RetryInfo *retry = google__rpc__retry_info__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(retry);
  assert_int_equal(retry->retry_delay->seconds, 2);
  assert_int_equal(retry->retry_delay->nanos, 500000000);
  google__rpc__retry_info__free_unpacked(retry, NULL);
  grpc_status_free(s);
}

static void a_reason_becomes_an_error_info(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_PERMISSION_DENIED, "no");
  grpc_status_set_reason(s, "ROLE_MISSING", "auditstore");
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->n_details, 1);
  assert_binary(proto->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo");
  Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, proto->details[0]->value.len,
                                                                 proto->details[0]->value.data);
  assert_non_null(info);
  assert_binary(info->reason, "ROLE_MISSING");
  assert_binary(info->domain, "auditstore");
  google__rpc__error_info__free_unpacked(info, NULL);
  grpc_status_violate(&s, "f", "wrong");
  grpc_status_set_retry_delay(s, 1);
  grpc_status_set_resource(s, "event", str_z("id"), "all four together");
  assert_int_equal(grpc_status_proto(s)->n_details, 4);
  grpc_status_free(s);
}

static void resource_becomes_a_resource_info(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_ALREADY_EXISTS, "other content");
  grpc_status_set_resource(s, "event", str_of("idXXX", 2), "stored with other content");
  grpc_status_set_resource(s, "event", str_of("id-2XXX", 4), "stored with other content");
  const Google__Rpc__Status *proto = grpc_status_proto(s);
  assert_int_equal(proto->n_details, 1);
  assert_binary(proto->details[0]->type_url, "type.googleapis.com/google.rpc.ResourceInfo");
  Google__Rpc__ResourceInfo *info = google__rpc__resource_info__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(info);
  assert_binary(info->resource_type, "event");
  assert_binary(info->resource_name, "id-2");
  assert_binary(info->description, "stored with other content");
  google__rpc__resource_info__free_unpacked(info, NULL);
  grpc_status_free(s);
}

static void proto_may_be_asked_for_again_after_a_change(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_new(GRPC_INVALID_ARGUMENT, "bad");
  assert_int_equal(grpc_status_proto(s)->n_details, 0);
  grpc_status_violate(&s, "f", "wrong");
  assert_int_equal(grpc_status_proto(s)->n_details, 1);
  grpc_status_set_retry_delay(s, 0);
  assert_int_equal(grpc_status_proto(s)->n_details, 2);
  assert_int_equal(grpc_status_proto(s)->n_details, 2);
  grpc_status_free(s);
}

static void errors_map_to_their_codes_and_say_when_to_retry(void **state) {
  (void)state;
  struct grpc_status *s = grpc_status_of_code(ERR_EXHAUSTED, "queue is %s", "full");
  assert_int_equal(grpc_status_code(s), GRPC_RESOURCE_EXHAUSTED);
  assert_string_equal(grpc_status_message(s), "queue is full");
  assert_int_equal(grpc_status_proto(s)->n_details, 1);
  grpc_status_free(s);
  s = grpc_status_of_code(ERR_INTERNAL, "%s", "100% wrong");
  assert_int_equal(grpc_status_code(s), GRPC_INTERNAL);
  assert_string_equal(grpc_status_message(s), "100% wrong");
  assert_int_equal(grpc_status_proto(s)->n_details, 0);
  grpc_status_free(s);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(code_and_message_are_kept),
      cmocka_unit_test(long_or_broken_messages_end_at_a_whole_character),
      cmocka_unit_test(violations_become_a_bad_request),
      cmocka_unit_test(the_message_is_the_first_violation_and_how_many_follow),
      cmocka_unit_test(a_status_with_a_text_of_its_own_keeps_it),
      cmocka_unit_test(violations_beyond_the_maximum_are_counted_in_the_message),
      cmocka_unit_test(huge_violations_are_clipped),
      cmocka_unit_test(retry_delay_becomes_a_retry_info),
      cmocka_unit_test(a_reason_becomes_an_error_info),
      cmocka_unit_test(resource_becomes_a_resource_info),
      cmocka_unit_test(proto_may_be_asked_for_again_after_a_change),
      cmocka_unit_test(errors_map_to_their_codes_and_say_when_to_retry),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
