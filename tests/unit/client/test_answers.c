/* What the client library makes of a server's answers, headers first. */
#include "client_fixture.h"

static void a_request_says_what_grpc_asks_for(void **state) {
  struct world *w = *state;
  const struct auditstore_call_options options = {.timeout_ms = 20000};
  char *seen = mirrored(w, &options);
  char authority[64];
  snprintf(authority, sizeof(authority), ":authority: %s\n", fault_server_target(w->server));
  assert_non_null(strstr(seen, ":method: POST\n"));
  assert_non_null(strstr(seen, ":scheme: http\n"));
  assert_non_null(strstr(seen, ":path: /fault/mirror\n"));
  assert_non_null(strstr(seen, authority));
  assert_non_null(strstr(seen, "\ncontent-type: application/grpc\n"));
  assert_non_null(strstr(seen, "\nte: trailers\n"));
  assert_non_null(strstr(seen, "\nuser-agent: auditstore-c/0.1.0\n"));
  assert_non_null(strstr(seen, "\nends with data\n"));
  const char *timeout = strstr(seen, "\ngrpc-timeout: ");
  assert_non_null(timeout);
  /* Below 20 s by the little that the way to the wire took. */
  long long us = strtoll(timeout + 15, (char **)&timeout, 10);
  assert_memory_equal(timeout, "u\n", 2);
  assert_in_range(us, 10000000, 20000000);
  free(seen);
}

static void a_request_without_deadline_or_with_metadata_says_so(void **state) {
  struct world *w = *state;
  static const struct auditstore_metadata metadata[] = {
      {"x-request", "abc", 3}, {"x-raw-bin", "\0\1\2\3", 4}, {"x-empty", NULL, 0}};
  const struct auditstore_call_options options = {
      .timeout_ms = -1, .metadata = metadata, .metadata_count = 3};
  char *seen = mirrored(w, &options);
  assert_null(strstr(seen, "grpc-timeout"));
  assert_non_null(strstr(seen, "\nx-request: abc\n"));
  assert_non_null(strstr(seen, "\nx-raw-bin: AAECAw\n"));
  assert_non_null(strstr(seen, "\nx-empty: \n"));
  free(seen);
}

static void the_program_s_name_comes_before_the_library_s(void **state) {
  struct world *w = *state;
  const struct auditstore_channel_options named = {.user_agent = "billing/2"};
  struct world other = {w->server,
                        auditstore_channel_new(fault_server_target(w->server), &named, NULL)};
  char *seen = mirrored(&other, NULL);
  assert_non_null(strstr(seen, "\nuser-agent: billing/2 auditstore-c/0.1.0\n"));
  auditstore_channel_free(other.channel);
  const struct auditstore_channel_options bad = {.user_agent = "a\nb"};
  assert_null(auditstore_channel_new("localhost:1", &bad, NULL));
  free(seen);
}

static void more_metadata_than_servers_take_is_refused(void **state) {
  struct world *w = *state;
  char *value = calloc(1, 17 * 1024);
  memset(value, 'x', 17 * 1024);
  const struct auditstore_metadata one = {"x-long", value, 17 * 1024};
  struct auditstore_call_options options = {.metadata = &one, .metadata_count = 1};
  struct auditstore_status status = {0};
  assert_int_equal(call_with(w, "/fault/echo", &options, &status), AUDITSTORE_INVALID_ARGUMENT);
  struct auditstore_metadata many[65];
  for (int i = 0; i < 65; i++)
    many[i] = (struct auditstore_metadata){"x-one", "1", 1};
  options = (struct auditstore_call_options){.metadata = many, .metadata_count = 65};
  assert_int_equal(call_with(w, "/fault/echo", &options, &status), AUDITSTORE_INVALID_ARGUMENT);
  assert_non_null(strstr(status.message, "metadata"));
  auditstore_status_deinit(&status);
  free(value);
}

/* ---- other protocols ---- */

static void an_answer_of_another_protocol_is_told_by_its_http_status(void **state) {
  struct auditstore_status status = {0};
  assert_int_equal(call(*state, "/fault/error_page", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_string_equal(status.message, "the server answered HTTP 503, not gRPC");
  auditstore_status_deinit(&status);
  expect(*state, "/fault/page", AUDITSTORE_UNKNOWN);
  expect(*state, "/fault/web", AUDITSTORE_UNKNOWN);
  expect(*state, "/fault/proto", AUDITSTORE_OK);
}

static void informational_headers_are_not_the_answer(void **state) {
  expect(*state, "/fault/hints", AUDITSTORE_OK);
}

/* ---- shape ---- */

static void a_unary_call_has_exactly_one_answer(void **state) {
  expect(*state, "/fault/none", AUDITSTORE_INTERNAL);
  expect(*state, "/fault/one", AUDITSTORE_OK);
  expect(*state, "/fault/two", AUDITSTORE_INTERNAL);
}

static void only_trailers_are_told_as_trailers(void **state) {
  struct auditstore_status status = {0};
  assert_int_equal(call(*state, "/fault/late_error", 20000, &status),
                   AUDITSTORE_FAILED_PRECONDITION);
  assert_int_equal(status.trailer_count, 1);
  assert_string_equal(status.trailers[0].key, "x-last");
  assert_string_equal(status.trailers[0].value, "word");
  auditstore_status_deinit(&status);
}

static void an_error_after_messages_leaves_them_readable(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/late_error", 20000);
  auditstore_stream_half_close(stream);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  finish(stream, AUDITSTORE_FAILED_PRECONDITION);
}

static void a_server_that_is_done_ends_the_call_while_we_send(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/early", 20000);
  int64_t began = now_ms();
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  struct message m;
  assert_int_equal(auditstore_stream_send(stream, message_init(&m, 2), -1), AUDITSTORE_STREAM_END);
  finish(stream, AUDITSTORE_OK);
  assert_true(now_ms() - began < 15000);
  expect(*state, "/fault/echo", AUDITSTORE_OK);
}

static void a_connection_error_of_the_server_ends_calls_at_once(void **state) {
  struct world *w = *state;
  int64_t began = now_ms();
  /* Three attempts, each of which ends its connection. */
  expect(w, "/fault/broken", AUDITSTORE_UNAVAILABLE);
  assert_true(now_ms() - began < 15000);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 4);
}

/* ---- receiving ---- */

static void receives_that_never_wait_get_on(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/echo", 20000);
  send_one(stream, 1);
  enum auditstore_stream_result result = AUDITSTORE_STREAM_AGAIN;
  while (result == AUDITSTORE_STREAM_AGAIN)
    result = receive_one(stream, 0);
  assert_int_equal(result, AUDITSTORE_STREAM_OK);
  finish(stream, AUDITSTORE_OK);
}

#define FLOOD_MESSAGE_BYTES 32768
/* The inbox, the window, and what the server reads ahead of them. */
#define MOST_AHEAD_BYTES (size_t)((1024 + 1024 + 128) * 1024)

static void a_slow_reader_holds_the_server_back(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/flood", 60000);
  auditstore_stream_half_close(stream);
  for (size_t taken = 1; taken <= 100; taken++) {
    assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
    /* Other calls' I/O brings all that the server may send. */
    for (int i = 0; i < 3; i++)
      expect(w, "/fault/late_error", AUDITSTORE_FAILED_PRECONDITION);
    assert_in_range(fault_server_taken(w->server), 0,
                    taken * FLOOD_MESSAGE_BYTES + MOST_AHEAD_BYTES);
  }
  auditstore_stream_cancel(stream);
  finish(stream, AUDITSTORE_CANCELLED);
}

static void messages_without_content_are_bounded_too(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/empties", 60000);
  auditstore_stream_half_close(stream);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  for (int i = 0; i < 200; i++)
    expect(w, "/fault/late_error", AUDITSTORE_FAILED_PRECONDITION);
  assert_in_range(fault_server_taken(w->server), 0, MOST_AHEAD_BYTES);
  int count = 1;
  while (receive_one(stream, -1) == AUDITSTORE_STREAM_OK)
    count++;
  assert_int_equal(count, 1000000);
  finish(stream, AUDITSTORE_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_request_says_what_grpc_asks_for),
      TEST(a_request_without_deadline_or_with_metadata_says_so),
      TEST(the_program_s_name_comes_before_the_library_s),
      TEST(more_metadata_than_servers_take_is_refused),
      TEST(an_answer_of_another_protocol_is_told_by_its_http_status),
      TEST(informational_headers_are_not_the_answer),
      TEST(a_unary_call_has_exactly_one_answer),
      TEST(only_trailers_are_told_as_trailers),
      TEST(an_error_after_messages_leaves_them_readable),
      /* Nothing of it may stay open: there is place for one. */
      cmocka_unit_test_setup_teardown(a_server_that_is_done_ends_the_call_while_we_send,
                                      setup_with_one_stream, teardown),
      TEST(a_connection_error_of_the_server_ends_calls_at_once),
      TEST(receives_that_never_wait_get_on),
      TEST(a_slow_reader_holds_the_server_back),
      TEST(messages_without_content_are_bounded_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
