/*
 * Validation: each rule of event.proto, at its edge and behind it.
 */
#include "validate_fixture.h"

/* ---- texts ---- */

/* Where the message keeps each text; parts are put in place. */
static ProtobufCBinaryData *text_of(struct fixture *f, enum event_text which) {
  f->message.actor = &f->actor;
  f->message.resource = &f->resource;
  f->message.error = &f->error;
  ProtobufCBinaryData *const texts[EVENT_TEXT_COUNT] = {
      [EVENT_TEXT_EVENT_TYPE] = &f->message.event_type,
      [EVENT_TEXT_EVENT_CATEGORY] = &f->message.event_category,
      [EVENT_TEXT_EVENT_ACTION] = &f->message.event_action,
      [EVENT_TEXT_EVENT_VERSION] = &f->message.event_version,
      [EVENT_TEXT_ACTOR_TYPE] = &f->actor.type,
      [EVENT_TEXT_ACTOR_ID] = &f->actor.id,
      [EVENT_TEXT_RESOURCE_TYPE] = &f->resource.type,
      [EVENT_TEXT_RESOURCE_ID] = &f->resource.id,
      [EVENT_TEXT_RESOURCE_NAME] = &f->resource.name,
      [EVENT_TEXT_NAMESPACE] = &f->resource.namespace_,
      [EVENT_TEXT_CLUSTER] = &f->resource.cluster,
      [EVENT_TEXT_CORRELATION_ID] = &f->message.correlation_id,
      [EVENT_TEXT_TRACE_ID] = &f->message.trace_id,
      [EVENT_TEXT_SPAN_ID] = &f->message.span_id,
      [EVENT_TEXT_ERROR_CODE] = &f->error.code,
      [EVENT_TEXT_ERROR_MESSAGE] = &f->error.message,
      [EVENT_TEXT_EVENT_DATA] = &f->message.event_data,
  };
  return texts[which];
}

static bool is_free_text(enum event_text which) {
  return which != EVENT_TEXT_TRACE_ID && which != EVENT_TEXT_SPAN_ID &&
         which != EVENT_TEXT_EVENT_DATA;
}

/* The limits of event.proto, written down a second time: the table must agree with them. */
static const size_t limits[EVENT_TEXT_COUNT] = {
    [EVENT_TEXT_EVENT_TYPE] = 255,     [EVENT_TEXT_EVENT_CATEGORY] = 50,
    [EVENT_TEXT_EVENT_ACTION] = 255,   [EVENT_TEXT_EVENT_VERSION] = 20,
    [EVENT_TEXT_ACTOR_TYPE] = 50,      [EVENT_TEXT_ACTOR_ID] = 255,
    [EVENT_TEXT_RESOURCE_TYPE] = 100,  [EVENT_TEXT_RESOURCE_ID] = 255,
    [EVENT_TEXT_RESOURCE_NAME] = 255,  [EVENT_TEXT_NAMESPACE] = 253,
    [EVENT_TEXT_CLUSTER] = 255,        [EVENT_TEXT_CORRELATION_ID] = 255,
    [EVENT_TEXT_TRACE_ID] = 32,        [EVENT_TEXT_SPAN_ID] = 16,
    [EVENT_TEXT_ERROR_CODE] = 50,      [EVENT_TEXT_ERROR_MESSAGE] = 4096,
    [EVENT_TEXT_EVENT_DATA] = 1048576,
};

static void texts_are_limited_in_bytes(void **state) {
  struct fixture *f = *state;
  char *long_text = xmalloc(5000);
  memset(long_text, 'x', 5000);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    assert_int_equal(event_text_fields[i].max_bytes, limits[i]);
    if (!is_free_text((enum event_text)i))
      continue;
    reset(f);
    *text_of(f, (enum event_text)i) = (ProtobufCBinaryData){limits[i], (uint8_t *)long_text};
    assert_accepted(f);
    assert_int_equal(f->event.text[i].len, limits[i]);
    text_of(f, (enum event_text)i)->len++;
    assert_refused(f, event_text_fields[i].path);
  }
  free(long_text);
}

static void a_text_that_is_too_long_is_told_with_both_numbers(void **state) {
  struct fixture *f = *state;
  uint8_t text[300];
  memset(text, 'x', sizeof(text));
  f->message.event_action = (ProtobufCBinaryData){256, text};
  assert_told(f, "event_action",
              "has 256 bytes; at most 255 are allowed: cut it, or keep the whole in event_data");
  reset(f);
  f->message.resource = &f->resource;
  f->resource.namespace_ = (ProtobufCBinaryData){300, text};
  assert_told(f, "resource.namespace",
              "has 300 bytes; at most 253 are allowed: cut it, or keep the whole in event_data");
}

static void a_text_that_cant_be_stored_is_told_with_the_place(void **state) {
  struct fixture *f = *state;
  f->message.event_type = (ProtobufCBinaryData){4, (uint8_t *)"ab\0c"};
  assert_told(f, "event_type",
              "holds the character U+0000 at byte 2, which can't be stored: leave it out");
  f->message.event_type = bytes("caf\xE9");
  assert_told(f, "event_type", "must be UTF-8, which \"\\xe9\" at byte 3 is not");
  f->message.event_type = bytes("");
  assert_told(f, "event_type", "is required");
}

static void texts_must_be_storable(void **state) {
  struct fixture *f = *state;
  static const struct {
    const char *text;
    size_t len;
  } bad[] = {
      {"a\0b", 3}, {"\xC3", 1}, {"\xED\xA0\x80", 3}, {"\xC0\x80", 2}, {"\xF4\x90\x80\x80", 4}};
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    if (!is_free_text((enum event_text)i))
      continue;
    for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
      reset(f);
      *text_of(f, (enum event_text)i) = (ProtobufCBinaryData){bad[j].len, (uint8_t *)bad[j].text};
      assert_refused(f, event_text_fields[i].path);
    }
    reset(f);
    *text_of(f, (enum event_text)i) = bytes("\xC3\xA4\xF0\x9F\x98\x80");
    assert_accepted(f);
  }
}

static void three_texts_are_required(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    reset(f);
    *text_of(f, (enum event_text)i) = bytes("");
    if (i <= EVENT_TEXT_EVENT_ACTION)
      assert_refused(f, event_text_fields[i].path);
    else
      assert_accepted(f);
  }
}

/* ---- ids ---- */

static void ids_are_uuid_texts(void **state) {
  struct fixture *f = *state;
  static const char *const bad[] = {
      "x", "01890a5dac96774bbcceb302099a8057", "{01890a5d-ac96-774b-bcce-b302099a8057}",
      "01890a5d-ac96-774b-bcce-b302099a805g", "01890a5d-ac96-774b-bcce-b302099a80577"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    reset(f);
    f->message.event_id = bytes(bad[i]);
    assert_refused(f, "event_id");
    reset(f);
    f->message.parent_event_id = bytes(bad[i]);
    assert_refused(f, "parent_event_id");
  }
  reset(f);
  f->message.event_id = bytes("01890A5D-AC96-774B-BCCE-B302099A8057");
  f->message.parent_event_id = bytes("01890a5d-ac96-774b-bcce-b302099a8058");
  assert_accepted(f);
  assert_int_equal(f->event.id.bytes[15], 0x57);
  assert_true(f->event.has_parent);
  assert_int_equal(f->event.parent_id.bytes[15], 0x58);
  assert_int_equal(f->validator.made_ids, 0);
}

static void an_event_without_id_is_given_one(void **state) {
  struct fixture *f = *state;
  f->message.event_id = bytes("");
  assert_accepted(f);
  struct uuid first = f->event.id;
  assert_int_equal(first.bytes[6] >> 4, 7);
  assert_accepted(f);
  assert_true(memcmp(first.bytes, f->event.id.bytes, 16) < 0);
  assert_int_equal(f->validator.made_ids, 2);
  f->message.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED;
  assert_refused(f, "outcome");
  assert_int_equal(f->validator.made_ids, 2);
}

/* ---- the rest ---- */

static void addresses_are_read_and_their_faults_told(void **state) {
  struct fixture *f = *state;
  f->message.actor = &f->actor;
  f->actor.ip = bytes("10.0.0.1:80");
  assert_told(f, "actor.ip",
              "\"10.0.0.1:80\" has a port, which is no part of an address: leave out \":80\"");
  f->actor.ip = (ProtobufCBinaryData){.len = 10, .data = (uint8_t *)"192.0.2.7\0"};
  assert_refused(f, "actor.ip");
  f->actor.ip = bytes("192.0.2.7");
  assert_accepted(f);
  assert_int_equal(f->event.actor_ip.length, 4);
  assert_int_equal(f->event.actor_ip.bytes[3], 7);
  f->actor.ip = bytes("::ffff:192.0.2.7");
  assert_accepted(f);
  assert_int_equal(f->event.actor_ip.length, 16);
  f->actor.ip = bytes("");
  assert_accepted(f);
  assert_int_equal(f->event.actor_ip.length, 0);
}

static ProtobufCBinaryData in_memory(struct fixture *f, const char *text) {
  size_t len = strlen(text);
  memcpy(f->memory, text, len);
  return (ProtobufCBinaryData){.len = len, .data = f->memory};
}

static void trace_ids_are_lower_cased_hex(void **state) {
  struct fixture *f = *state;
  f->message.trace_id = in_memory(f, "4BF92F3577B34DA6A3CE929D0E0E4736");
  assert_accepted(f);
  assert_memory_equal(f->event.text[EVENT_TEXT_TRACE_ID].data, "4bf92f3577b34da6a3ce929d0e0e4736",
                      32);
  static const char *const bad[] = {
      "4bf92f3577b34da6a3ce929d0e0e473", "4bf92f3577b34da6a3ce929d0e0e47366",
      "4bf92f3577b34da6a3ce929d0e0e473g", "00000000000000000000000000000000",
      "4bf92f3577b34da6a3ce929d0e0e473\xC3"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    f->message.trace_id = in_memory(f, bad[i]);
    assert_refused(f, "trace_id");
  }
  f->message.trace_id = bytes("");
  f->message.span_id = in_memory(f, "00F067AA0BA902B7");
  assert_accepted(f);
  assert_memory_equal(f->event.text[EVENT_TEXT_SPAN_ID].data, "00f067aa0ba902b7", 16);
  static const char *const bad_spans[] = {"00f067aa0ba902b", "0000000000000000", "00f067aa0ba902bx",
                                          "00f067aa0ba902b70"};
  for (size_t i = 0; i < sizeof(bad_spans) / sizeof(bad_spans[0]); i++) {
    f->message.span_id = in_memory(f, bad_spans[i]);
    assert_refused(f, "span_id");
  }
}

static void enumerations_are_closed(void **state) {
  struct fixture *f = *state;
  static const int bad_outcomes[] = {0, 5, -1, INT32_MAX, 257};
  for (int i = 0; i < 5; i++) {
    f->message.outcome = (Auditstore__V1__Outcome)bad_outcomes[i];
    assert_refused(f, "outcome");
  }
  for (int i = 1; i <= 4; i++) {
    f->message.outcome = (Auditstore__V1__Outcome)i;
    assert_accepted(f);
    assert_int_equal(f->event.outcome, i);
  }
  static const int bad_severities[] = {9, -1, 256};
  for (int i = 0; i < 3; i++) {
    f->message.severity = (Auditstore__V1__Severity)bad_severities[i];
    assert_refused(f, "severity");
  }
  for (int i = 0; i <= 8; i++) {
    f->message.severity = (Auditstore__V1__Severity)i;
    assert_accepted(f);
    assert_int_equal(f->event.severity, i);
  }
}

static void retention_is_one_day_to_a_century(void **state) {
  struct fixture *f = *state;
  static const int32_t bad[] = {-1, 36501, INT32_MIN, INT32_MAX};
  for (int i = 0; i < 4; i++) {
    f->message.retention_days = bad[i];
    assert_refused(f, "retention_days");
  }
  static const int32_t good[] = {0, 1, 36500};
  for (int i = 0; i < 3; i++) {
    f->message.retention_days = good[i];
    assert_accepted(f);
    assert_int_equal(f->event.retention_days, good[i]);
  }
  assert_false(f->event.is_sensitive);
  f->message.sensitive = true;
  assert_accepted(f);
  assert_true(f->event.is_sensitive);
}

static void every_problem_is_reported_at_once(void **state) {
  struct fixture *f = *state;
  f->message.event_id = bytes("x");
  f->message.event_type = bytes("");
  f->message.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED;
  f->message.retention_days = -1;
  assert_false(validate(f));
  assert_int_equal(grpc_status_violation_count(f->status), 4);
}

/* ---- event_data ---- */

static void event_data_is_one_object_kept_as_it_is(void **state) {
  struct fixture *f = *state;
  const char *text = " {\"b\": 1.0, \"a\":[[[[[[[[[[[1]]]]]]]]]]]} ";
  f->message.event_data = bytes(text);
  assert_accepted(f);
  assert_ptr_equal(f->event.text[EVENT_TEXT_EVENT_DATA].data, text);
  assert_int_equal(f->event.text[EVENT_TEXT_EVENT_DATA].len, strlen(text));
}

/* An object with arrays in it, `levels` all together. */
static void nest(char *text, int levels) {
  size_t arrays = (size_t)levels - 1;
  char *end = stpcpy(text, "{\"k\":");
  memset(end, '[', arrays);
  end[arrays] = '1';
  memset(end + arrays + 1, ']', arrays);
  stpcpy(end + 2 * arrays + 1, "}");
}

static void event_data_may_be_nested_64_levels_deep(void **state) {
  struct fixture *f = *state;
  char text[2048];
  static const int good[] = {1, 10, 11, 15, 63, 64};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    nest(text, good[i]);
    f->message.event_data = bytes(text);
    assert_accepted(f);
  }
  nest(text, 65);
  f->message.event_data = bytes(text);
  assert_told(f, "event_data",
              "is nested 65 levels deep; at most 64 are allowed: keep what lies deeper as a text");
  nest(text, 200);
  f->message.event_data = bytes(text);
  assert_told(f, "event_data",
              "is nested 200 levels deep; at most 64 are allowed: keep what lies deeper as a text");
}

static void event_data_that_is_no_object_or_cant_be_stored_says_why(void **state) {
  struct fixture *f = *state;
  static const char *const cases[][2] = {
      {"{\"a\":\"x\\u0000\"}",
       "holds \\u0000 at byte 7: the character U+0000 can't be stored, leave it out"},
      {"{\"a\":\"\\uD83d x\"}",
       "holds \\uD83d at byte 6, half of a character that can't be stored without its other half: "
       "write \\ufffd in its place"},
      {"{\"a\":\"\\udE00\"}",
       "holds \\udE00 at byte 6, half of a character that can't be stored without its other half: "
       "write \\ufffd in its place"},
      {"{\"a\":1,}", "is not valid JSON: a member name in quotes was expected, at byte 7"},
      {"{\"a\":01}", "is not valid JSON: number with a leading zero, at byte 6"},
      {"[{\"a\":1}]",
       "must be a JSON object such as {\"key\":\"value\"}; this begins with \"[{\\\"a\\\":1}]\""},
      {"null and more than that",
       "must be a JSON object such as {\"key\":\"value\"}; this begins with \"null and more th\""},
      {"\xEF\xBB\xBF{}", "begins with a byte order mark: leave it out"},
      {" \n", "holds nothing but white space: leave it out, or write {}"},
      {"{\"a\":\"\xC3\"}", "must be UTF-8, which \"\\xc3\" at byte 6 is not"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    f->message.event_data = bytes(cases[i][0]);
    assert_told(f, "event_data", cases[i][1]);
  }
}

static void expect_data_limit(struct fixture *f, size_t max, const char *told) {
  uint8_t *text = xmalloc(max + 1);
  memset(text, ' ', max + 1);
  text[0] = '{';
  text[1] = '}';
  f->config.max_event_data_bytes = (int64_t)max;
  f->message.event_data = (ProtobufCBinaryData){.len = max, .data = text};
  assert_accepted(f);
  f->message.event_data.len++;
  assert_told(f, "event_data", told);
  free(text);
}

static void the_setting_limits_event_data_in_bytes(void **state) {
  struct fixture *f = *state;
  expect_data_limit(f, 262144,
                    "has 262145 bytes; at most 262144 are allowed (ingest.max_event_data_bytes, "
                    "which the server's operator may raise to 1048576)");
  expect_data_limit(f, 1024,
                    "has 1025 bytes; at most 1024 are allowed (ingest.max_event_data_bytes, "
                    "which the server's operator may raise to 1048576)");
  expect_data_limit(f, 1048576,
                    "has 1048577 bytes; at most 1048576 are allowed: keep the rest elsewhere, and "
                    "its hash here");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(texts_are_limited_in_bytes),
      TEST(a_text_that_is_too_long_is_told_with_both_numbers),
      TEST(a_text_that_cant_be_stored_is_told_with_the_place),
      TEST(texts_must_be_storable),
      TEST(three_texts_are_required),
      TEST(ids_are_uuid_texts),
      TEST(an_event_without_id_is_given_one),
      TEST(addresses_are_read_and_their_faults_told),
      TEST(trace_ids_are_lower_cased_hex),
      TEST(enumerations_are_closed),
      TEST(retention_is_one_day_to_a_century),
      TEST(every_problem_is_reported_at_once),
      TEST(event_data_is_one_object_kept_as_it_is),
      TEST(event_data_may_be_nested_64_levels_deep),
      TEST(event_data_that_is_no_object_or_cant_be_stored_says_why),
      TEST(the_setting_limits_event_data_in_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
