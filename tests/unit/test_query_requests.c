/*
 * Requests that are refused, and how what is wrong with them is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "google/rpc/error_details.pb-c.h"
#include "query/get.h"
#include "support/query_fixture.h"

/* Asserts that the request is refused, and that `field` is among what is wrong with it. */
static void assert_violation(const Auditstore__V1__ListEventsRequest *request, const char *field) {
  struct list_query query;
  struct grpc_status *status = list_query_init(&query, request, &query_fixture_config);
  if (!status)
    fail_msg("%s was taken", field);
  assert_int_equal(grpc_status_code(status), GRPC_INVALID_ARGUMENT);
  const Google__Rpc__Status *proto = grpc_status_proto(status);
  assert_int_equal(proto->n_details, 1);
  Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(
      NULL, proto->details[0]->value.len, proto->details[0]->value.data);
  assert_non_null(bad);
  bool is_found = false;
  for (size_t i = 0; i < bad->n_field_violations; i++)
    is_found |= str_is(
        str_of(bad->field_violations[i]->field.data, bad->field_violations[i]->field.len), field);
  if (!is_found)
    fail_msg("%s isn't named", field);
  google__rpc__bad_request__free_unpacked(bad, NULL);
  grpc_status_free(status);
}

static void a_bad_time_is_named(void **state) {
  (void)state;
  static const struct {
    int64_t seconds;
    int32_t nanos;
  } bad[] = {{0, -1}, {0, 1000000000}, {-62135596801, 0}, {253402300800, 0}, {INT64_MAX, 0}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    t.seconds = bad[i].seconds;
    t.nanos = bad[i].nanos;
    Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.filter = &filter;
    filter.start_time = &t;
    assert_violation(&request, "filter.start_time");
    filter.start_time = NULL;
    filter.end_time = &t;
    assert_violation(&request, "filter.end_time");
  }
}

static void an_end_that_is_not_after_the_start_is_named(void **state) {
  (void)state;
  Google__Protobuf__Timestamp start = timestamp_of("2026-11-01T00:00:00Z", 0);
  Google__Protobuf__Timestamp end = timestamp_of("2026-11-01T00:00:00Z", 0);
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.filter = &filter;
  filter.start_time = &start;
  filter.end_time = &end;
  assert_violation(&request, "filter.end_time");
}

static void a_bad_text_is_named_by_its_index(void **state) {
  (void)state;
  static uint8_t long_text[256];
  memset(long_text, 'x', sizeof(long_text));
  const ProtobufCBinaryData bad[] = {
      {.len = 0},
      {.len = sizeof(long_text), .data = long_text},
      {.len = 3, .data = (uint8_t *)"a\0b"},
      {.len = 2, .data = (uint8_t *)"\xc3("},
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    ProtobufCBinaryData values[] = {{.len = 2, .data = (uint8_t *)"ok"}, bad[i]};
    Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.filter = &filter;
    filter.event_types = values;
    filter.n_event_types = 2;
    assert_violation(&request, "filter.event_types[1]");
  }
}

static void assert_told(const Auditstore__V1__ListEventsRequest *request, const char *text) {
  struct list_query query;
  struct grpc_status *status = list_query_init(&query, request, &query_fixture_config);
  assert_non_null(status);
  assert_string_equal(grpc_status_message(status), text);
  grpc_status_free(status);
}

/* Most clients show the status alone. */
static void the_status_tells_what_is_wrong_first_and_how_much_follows(void **state) {
  (void)state;
  static uint8_t long_text[256];
  memset(long_text, 'x', sizeof(long_text));
  Google__Protobuf__Timestamp early = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Google__Protobuf__Timestamp late = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  late.seconds = 9;
  ProtobufCBinaryData values[] = {{.len = sizeof(long_text), .data = long_text}, {.len = 0}};
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = -1;
  assert_told(&request, "page_size: must not be negative; -1 is");
  request.filter = &filter;
  filter.start_time = &late;
  filter.end_time = &early;
  assert_told(&request, "page_size: must not be negative; -1 is (and 1 more)");
  request.page_size = 0;
  assert_told(&request, "filter.end_time: must be after filter.start_time");
  filter.end_time = NULL;
  filter.event_actions = values;
  filter.n_event_actions = 2;
  assert_told(&request,
              "filter.event_actions[0]: has 256 bytes; no event has more than 255 there "
              "(and 1 more)");
  filter.n_event_actions = 0;
  request.order = (Auditstore__V1__ListOrder)77;
  assert_told(&request,
              "order: must be 1 (NEWEST_FIRST), 2 (OLDEST_FIRST) or 0 for the first; 77 is "
              "not");
  request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_UNSPECIFIED;
  request.page_token = (ProtobufCBinaryData){.len = 3, .data = (uint8_t *)"\x1b[2"};
  assert_told(&request,
              "page_token: is no token of this service's: give next_page_token as it came, or "
              "begin without one");
}

static void an_unknown_enum_value_is_named(void **state) {
  (void)state;
  static const int bad[] = {0, -1, 9, INT32_MAX};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    Auditstore__V1__Outcome outcome = (Auditstore__V1__Outcome)bad[i];
    Auditstore__V1__Severity severity = (Auditstore__V1__Severity)bad[i];
    Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.filter = &filter;
    filter.outcomes = &outcome;
    filter.n_outcomes = 1;
    filter.severities = &severity;
    filter.n_severities = 1;
    assert_violation(&request, "filter.outcomes[0]");
    assert_violation(&request, "filter.severities[0]");
  }
}

static void too_many_values_are_named(void **state) {
  (void)state;
  ProtobufCBinaryData values[FILTER_MAX_VALUES + 1];
  Auditstore__V1__Outcome outcomes[FILTER_MAX_VALUES + 1];
  for (int i = 0; i <= FILTER_MAX_VALUES; i++) {
    values[i] = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)"x"};
    outcomes[i] = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  }
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.filter = &filter;
  filter.clusters = values;
  filter.n_clusters = FILTER_MAX_VALUES + 1;
  filter.outcomes = outcomes;
  filter.n_outcomes = FILTER_MAX_VALUES + 1;
  assert_violation(&request, "filter.clusters");
  assert_violation(&request, "filter.outcomes");
}

static void a_bad_page_size_order_or_token_is_named(void **state) {
  (void)state;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = -1;
  request.order = (Auditstore__V1__ListOrder)3;
  request.page_token = (ProtobufCBinaryData){.len = 3, .data = (uint8_t *)"abc"};
  assert_violation(&request, "page_size");
  assert_violation(&request, "order");
  assert_violation(&request, "page_token");
}

static void a_bad_event_id_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"", "x", "c4ca4238a0b923820dcc509a6f75849b",
                                    "{c4ca4238-a0b9-2382-0dcc-509a6f75849b}"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct sql sql;
    Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
    request.event_id = (ProtobufCBinaryData){.len = strlen(bad[i]), .data = (uint8_t *)bad[i]};
    struct grpc_status *status = get_init(&sql, &request);
    assert_non_null(status);
    assert_int_equal(grpc_status_code(status), GRPC_INVALID_ARGUMENT);
    assert_int_equal(grpc_status_violation_count(status), 1);
    grpc_status_free(status);
  }
}

/* ---- what an index serves ---- */

static void an_index_serves_what_it_leads_to(void **state) {
  (void)state;
  ProtobufCBinaryData texts[] = {{.len = 1, .data = (uint8_t *)"a"}};
  Auditstore__V1__Outcome outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_FAILURE;
  Google__Protobuf__Timestamp t = timestamp_of("2026-01-01T00:00:00Z", 0);
/* NOLINTNEXTLINE(bugprone-macro-parentheses): members' names */
#define WITH(filter, list) ((filter).n_##list = 1, (filter).list = texts)
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  assert_true(filter_is_indexed(NULL));
  filter.start_time = &t;
  assert_true(filter_is_indexed(&filter));
  WITH(filter, actor_ids);
  assert_true(filter_is_indexed(&filter));
  WITH(filter, event_types);
  assert_false(filter_is_indexed(&filter));
  WITH(filter, correlation_ids);
  assert_true(filter_is_indexed(&filter));
  filter = (Auditstore__V1__EventFilter)AUDITSTORE__V1__EVENT_FILTER__INIT;
  WITH(filter, resource_ids);
  assert_false(filter_is_indexed(&filter));
  WITH(filter, resource_types);
  assert_true(filter_is_indexed(&filter));
  filter.n_outcomes = 1;
  filter.outcomes = &outcome;
  assert_false(filter_is_indexed(&filter));
  filter = (Auditstore__V1__EventFilter)AUDITSTORE__V1__EVENT_FILTER__INIT;
  filter.n_outcomes = 1;
  filter.outcomes = &outcome;
  assert_false(filter_is_indexed(&filter));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_bad_time_is_named),
      cmocka_unit_test(an_end_that_is_not_after_the_start_is_named),
      cmocka_unit_test(a_bad_text_is_named_by_its_index),
      cmocka_unit_test(the_status_tells_what_is_wrong_first_and_how_much_follows),
      cmocka_unit_test(an_unknown_enum_value_is_named),
      cmocka_unit_test(too_many_values_are_named),
      cmocka_unit_test(a_bad_page_size_order_or_token_is_named),
      cmocka_unit_test(a_bad_event_id_is_refused),
      cmocka_unit_test(an_index_serves_what_it_leads_to),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
