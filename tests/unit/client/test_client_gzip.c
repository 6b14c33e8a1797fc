/* Messages as gzip, both ways. */
#include "client_fixture.h"

static const struct auditstore_call_options compressing = {.timeout_ms = 20000, .compress = true};

struct large {
  struct message m;
  Auditstore__V1__AuditEvent event;
  char *data;
};

static const ProtobufCMessage *large_init(struct large *l, size_t size) {
  message_init(&l->m, 7);
  auditstore__v1__audit_event__init(&l->event);
  l->data = calloc(1, size + 1);
  memset(l->data, 'x', size);
  l->event.event_data = l->data;
  l->m.stored.event = &l->event;
  return &l->m.response.base;
}

static enum auditstore_code ask(struct world *w, const char *path, size_t size,
                                const struct auditstore_call_options *options,
                                struct auditstore_status *status) {
  struct large l;
  const struct auditstore_method method = method_of(path);
  const struct auditstore_unary unary = {&method, large_init(&l, size), options};
  ProtobufCMessage *response = NULL;
  enum auditstore_code code = auditstore_call_unary(w->channel, &unary, &response, status);
  if (response)
    assert_string_equal(((Auditstore__V1__GetEventResponse *)response)->event->event->event_data,
                        l.data);
  protobuf_c_message_free_unpacked(response, NULL);
  free(l.data);
  return code;
}

static char *seen_of(struct world *w, size_t size, const struct auditstore_call_options *options) {
  struct auditstore_status status = {0};
  assert_int_equal(ask(w, "/fault/mirror", size, options, &status), AUDITSTORE_NOT_FOUND);
  char *seen = strndup(status.trailers[0].value, status.trailers[0].value_len);
  auditstore_status_deinit(&status);
  return seen;
}

static void expect_request(struct world *w, size_t size,
                           const struct auditstore_call_options *options, const char *header,
                           const char *flag) {
  char *seen = seen_of(w, size, options);
  assert_int_equal(strstr(seen, "\ngrpc-encoding: gzip\n") != NULL, header != NULL);
  assert_non_null(strstr(seen, "\ngrpc-accept-encoding: identity,gzip\n"));
  assert_non_null(strstr(seen, flag));
  free(seen);
}

static void long_requests_are_compressed_when_asked_for(void **state) {
  expect_request(*state, 5000, &compressing, "gzip", "message with flag 1\n");
  expect_request(*state, 900, &compressing, "gzip", "message with flag 0\n");
  expect_request(*state, 5000, NULL, NULL, "message with flag 0\n");
}

static void compressed_answers_are_inflated(void **state) {
  assert_int_equal(ask(*state, "/fault/gzip", 100000, &compressing, NULL), AUDITSTORE_OK);
  assert_int_equal(ask(*state, "/fault/gzip", 10, &compressing, NULL), AUDITSTORE_OK);
  assert_int_equal(ask(*state, "/fault/echo", 100000, &compressing, NULL), AUDITSTORE_OK);
  assert_int_equal(ask(*state, "/fault/gzip", 10, NULL, NULL), AUDITSTORE_OK);
}

static void streams_are_compressed_too(void **state) {
  struct world *w = *state;
  const struct auditstore_method method = method_of("/fault/gzip");
  struct auditstore_stream *stream =
      auditstore_stream_open(w->channel, &method, &compressing, NULL);
  assert_non_null(stream);
  for (int i = 0; i < 20; i++) {
    struct large l;
    const ProtobufCMessage *message = large_init(&l, (size_t)i * 1000);
    ProtobufCMessage *answer = NULL;
    assert_int_equal(auditstore_stream_send(stream, message, -1), AUDITSTORE_STREAM_OK);
    assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_OK);
    assert_int_equal(protobuf_c_message_get_packed_size(answer),
                     protobuf_c_message_get_packed_size(message));
    protobuf_c_message_free_unpacked(answer, NULL);
    free(l.data);
  }
  finish(stream, AUDITSTORE_OK);
}

static void what_inflates_too_far_or_not_at_all_is_refused(void **state) {
  struct world *w = *state;
  struct auditstore_status status = {0};
  assert_int_equal(call_with(w, "/fault/bomb", &compressing, &status),
                   AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_non_null(strstr(status.message, "once inflated"));
  assert_int_equal(call_with(w, "/fault/bad_gzip", &compressing, &status), AUDITSTORE_INTERNAL);
  assert_non_null(strstr(status.message, "gzip"));
  const struct auditstore_method method = method_of("/fault/bomb");
  struct auditstore_stream *stream =
      auditstore_stream_open(w->channel, &method, &compressing, NULL);
  auditstore_stream_half_close(stream);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  assert_int_equal(auditstore_stream_finish(stream, &status), AUDITSTORE_RESOURCE_EXHAUSTED);
  auditstore_status_deinit(&status);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(long_requests_are_compressed_when_asked_for),
      TEST(compressed_answers_are_inflated),
      TEST(streams_are_compressed_too),
      TEST(what_inflates_too_far_or_not_at_all_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
