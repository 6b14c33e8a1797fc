/* How the client library reads the end of a call. */
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void take(struct auditstore_status *status, const char *name, const char *value) {
  status_take_header(status, str_z(name), str_z(value));
}

static void codes_have_their_names(void **state) {
  (void)state;
  assert_string_equal(auditstore_code_name(AUDITSTORE_OK), "OK");
  assert_string_equal(auditstore_code_name(AUDITSTORE_DATA_LOSS), "DATA_LOSS");
  assert_string_equal(auditstore_code_name(AUDITSTORE_UNAUTHENTICATED), "UNAUTHENTICATED");
  assert_string_equal(auditstore_code_name((enum auditstore_code)17), "UNKNOWN");
  assert_string_equal(auditstore_code_name((enum auditstore_code) - 1), "UNKNOWN");
}

static void a_code_is_one_of_the_known_numbers_or_unknown(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum auditstore_code code;
  } cases[] = {
      {"0", AUDITSTORE_OK},
      {"7", AUDITSTORE_PERMISSION_DENIED},
      {"16", AUDITSTORE_UNAUTHENTICATED},
      {"17", AUDITSTORE_UNKNOWN},
      {"", AUDITSTORE_UNKNOWN},
      {"-1", AUDITSTORE_UNKNOWN},
      {"1x", AUDITSTORE_UNKNOWN},
      {"000", AUDITSTORE_UNKNOWN},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct auditstore_status status = {0};
    take(&status, "grpc-status", cases[i].text);
    assert_int_equal(status.code, cases[i].code);
  }
}

static void http_statuses_map_as_grpc_says(void **state) {
  (void)state;
  static const int map[][2] = {
      {400, AUDITSTORE_INTERNAL},          {401, AUDITSTORE_UNAUTHENTICATED},
      {403, AUDITSTORE_PERMISSION_DENIED}, {404, AUDITSTORE_UNIMPLEMENTED},
      {429, AUDITSTORE_UNAVAILABLE},       {502, AUDITSTORE_UNAVAILABLE},
      {503, AUDITSTORE_UNAVAILABLE},       {504, AUDITSTORE_UNAVAILABLE},
      {200, AUDITSTORE_UNKNOWN},           {500, AUDITSTORE_UNKNOWN},
  };
  for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
    assert_int_equal(code_of_http_status(map[i][0]), map[i][1]);
}

static void http2_errors_map_as_grpc_says(void **state) {
  (void)state;
  static const int map[][2] = {
      {NGHTTP2_NO_ERROR, AUDITSTORE_INTERNAL},
      {NGHTTP2_PROTOCOL_ERROR, AUDITSTORE_INTERNAL},
      {NGHTTP2_FLOW_CONTROL_ERROR, AUDITSTORE_INTERNAL},
      {NGHTTP2_REFUSED_STREAM, AUDITSTORE_UNAVAILABLE},
      {NGHTTP2_CANCEL, AUDITSTORE_CANCELLED},
      {NGHTTP2_ENHANCE_YOUR_CALM, AUDITSTORE_RESOURCE_EXHAUSTED},
      {NGHTTP2_INADEQUATE_SECURITY, AUDITSTORE_PERMISSION_DENIED},
      {0xffff, AUDITSTORE_INTERNAL},
  };
  for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
    assert_int_equal(code_of_http2_error((uint32_t)map[i][0]), map[i][1]);
}

static void a_message_is_decoded_leniently(void **state) {
  (void)state;
  struct auditstore_status status = {0};
  take(&status, "grpc-message", "50%25 %e2%98%ba %zz %4");
  assert_string_equal(status.message, "50% \xe2\x98\xba %zz %4");
  take(&status, "grpc-message", "");
  assert_string_equal(status.message, "");
  auditstore_status_deinit(&status);
}

static void other_headers_are_kept_in_order_and_decoded(void **state) {
  (void)state;
  struct auditstore_status status = {0};
  take(&status, "x-a", "1");
  take(&status, "x-b-bin", "AAEC");
  take(&status, "x-a", "2");
  take(&status, "x-bad-bin", "not base64!");
  take(&status, "content-type", "application/grpc");
  take(&status, "grpc-anything", "x");
  assert_int_equal(status.trailer_count, 3);
  assert_string_equal(status.trailers[0].value, "1");
  assert_string_equal(status.trailers[1].key, "x-b-bin");
  assert_int_equal(status.trailers[1].value_len, 3);
  assert_memory_equal(status.trailers[1].value, "\0\1\2", 3);
  assert_string_equal(status.trailers[2].value, "2");
  auditstore_status_deinit(&status);
  assert_null(status.trailers);
}

static void more_trailers_than_sense_are_dropped(void **state) {
  (void)state;
  struct auditstore_status status = {0};
  for (int i = 0; i < 1000; i++)
    take(&status, "x-a", "1");
  assert_int_equal(status.trailer_count, 64);
  auditstore_status_deinit(&status);
}

static void a_moved_status_belongs_to_the_new_one(void **state) {
  (void)state;
  struct auditstore_status from = {0};
  struct auditstore_status to = {0};
  status_set(&to, AUDITSTORE_ABORTED, "old");
  status_set(&from, AUDITSTORE_NOT_FOUND, "no %s", "event");
  take(&from, "x-a", "1");
  assert_int_equal(status_move(&from, &to), AUDITSTORE_NOT_FOUND);
  assert_string_equal(to.message, "no event");
  assert_int_equal(to.trailer_count, 1);
  assert_null(from.message);
  assert_int_equal(status_move(&to, NULL), AUDITSTORE_NOT_FOUND);
  assert_null(to.message);
  auditstore_status_deinit(NULL);
}

/* ---- details ---- */

struct details {
  uint8_t packed[256];
  Google__Protobuf__Any any;
  Google__Protobuf__Any *anys[1];
  Google__Rpc__Status status;
};

static void details_init(struct details *d, const char *type, const ProtobufCMessage *message) {
  google__protobuf__any__init(&d->any);
  google__rpc__status__init(&d->status);
  d->any.type_url = (char *)type;
  d->any.value.data = d->packed;
  d->any.value.len = protobuf_c_message_pack(message, d->packed);
  d->anys[0] = &d->any;
  d->status.details = d->anys;
  d->status.n_details = 1;
}

static int64_t retry_delay_of(int64_t seconds, int32_t nanos) {
  Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
  Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
  struct details d;
  delay.seconds = seconds;
  delay.nanos = nanos;
  info.retry_delay = &delay;
  details_init(&d, "type.googleapis.com/google.rpc.RetryInfo", &info.base);
  return auditstore_rpc_status_retry_delay_ms(&d.status);
}

static void the_server_s_advice_is_in_milliseconds(void **state) {
  (void)state;
  assert_int_equal(retry_delay_of(2, 500000000), 2500);
  assert_int_equal(retry_delay_of(0, 999999), 0);
  assert_int_equal(retry_delay_of(-1, 0), -1);
  assert_int_equal(retry_delay_of(0, -5000000), -1);
  assert_int_equal(retry_delay_of(INT64_MAX, 0), -1);
  assert_int_equal(auditstore_rpc_status_retry_delay_ms(NULL), -1);
}

static void details_that_are_not_what_they_say_are_ignored(void **state) {
  (void)state;
  Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
  struct details d;
  details_init(&d, "type.googleapis.com/google.rpc.ErrorInfo", &bad.base);
  assert_int_equal(auditstore_rpc_status_violations(&d.status, NULL, NULL), 0);
  details_init(&d, "google.rpc.BadRequest", &bad.base);
  assert_int_equal(auditstore_rpc_status_violations(&d.status, NULL, NULL), 0);
  details_init(&d, "type.googleapis.com/google.rpc.BadRequest", &bad.base);
  d.any.value.len = 3;
  memcpy(d.packed, "\xff\xff\xff", 3);
  assert_int_equal(auditstore_rpc_status_violations(&d.status, NULL, NULL), 0);
  struct auditstore_status garbage = {.details = (uint8_t *)d.packed, .details_len = 3};
  assert_int_equal(auditstore_status_violations(&garbage, NULL, NULL), 0);
  assert_int_equal(auditstore_status_retry_delay_ms(&garbage), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_have_their_names),
      cmocka_unit_test(a_code_is_one_of_the_known_numbers_or_unknown),
      cmocka_unit_test(http_statuses_map_as_grpc_says),
      cmocka_unit_test(http2_errors_map_as_grpc_says),
      cmocka_unit_test(a_message_is_decoded_leniently),
      cmocka_unit_test(other_headers_are_kept_in_order_and_decoded),
      cmocka_unit_test(more_trailers_than_sense_are_dropped),
      cmocka_unit_test(a_moved_status_belongs_to_the_new_one),
      cmocka_unit_test(the_server_s_advice_is_in_milliseconds),
      cmocka_unit_test(details_that_are_not_what_they_say_are_ignored),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
