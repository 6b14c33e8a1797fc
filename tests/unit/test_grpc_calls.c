/* The four kinds of call, and how statuses reach the caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/echo_server.h"

static struct h2_client *client_of(struct echo_server *e) {
  return e->clients[0];
}

/* ---- the four kinds ---- */

static void unary_call_is_answered(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "hello");
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "hello");
  assert_int_equal(h2_stream_message_count(s), 1);
  assert_int_equal(s->header_blocks, 2);
  assert_string_equal(s->content_type, "application/grpc");
  assert_string_equal(s->accept_encoding, "identity,gzip");
  assert_false(s->is_reset);
}

static void client_stream_is_answered_at_its_half_close(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_CLIENT_STREAM, NULL, false);
  struct str packed = echo_pack("x");
  for (int i = 0; i < 3; i++)
    h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
  echo_server_settle(e);
  assert_int_equal(e->messages, 3);
  assert_int_equal(s->header_blocks, 0);
  h2_client_send(client_of(e), s, "", 0, true);
  echo_wait_closed(e, s);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "3 messages");
}

static void client_stream_without_messages_is_answered(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call_bytes(e, ECHO_CLIENT_STREAM, NULL, str_of("", 0));
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "0 messages");
}

static void client_stream_that_is_all_headers_is_answered(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_CLIENT_STREAM, NULL, true);
  echo_wait_closed(e, s);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "0 messages");
}

static void server_stream_sends_all_its_answers(void **state) {
  struct echo_server *e = *state;
  e->stream_count = 1000;
  e->stream_size = 100;
  struct h2_stream *s = echo_call(e, ECHO_SERVER_STREAM, NULL, "go");
  echo_assert_ok(s);
  assert_int_equal(h2_stream_message_count(s), 1000);
}

static void server_stream_of_nothing_is_ok(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call(e, ECHO_SERVER_STREAM, NULL, "go");
  echo_assert_ok(s);
  assert_int_equal(h2_stream_message_count(s), 0);
}

static void bidi_stream_answers_message_by_message(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_BIDI, NULL, false);
  for (size_t i = 0; i < 3; i++) {
    char text[16];
    snprintf(text, sizeof(text), "number %zu", i);
    struct str packed = echo_pack(text);
    h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
    while (h2_stream_message_count(s) <= i)
      echo_server_step(e);
    echo_assert_answer(s, i, text);
  }
  h2_client_send(client_of(e), s, "", 0, true);
  echo_wait_closed(e, s);
  echo_assert_ok(s);
  assert_int_equal(e->half_closes, 1);
}

static void headers_of_a_bidi_stream_come_at_once(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_BIDI, NULL, false);
  while (s->header_blocks == 0)
    echo_server_step(e);
  assert_string_equal(s->http_status, "200");
  assert_int_equal(s->grpc_status, -1);
}

/* ---- the hooks ---- */

static int callers_freed;

static void free_caller(void *caller) {
  assert_string_equal(caller, "the caller");
  callers_freed++;
}

static struct grpc_status *let_in(void *arg, struct grpc_call *call,
                                  const struct grpc_method *method) {
  (void)arg;
  (void)method;
  assert_null(grpc_call_caller(call));
  assert_null(grpc_call_peer_names(call));
  assert_true(str_is(grpc_call_peer_address(call), "127.0.0.1"));
  grpc_call_set_caller(call, "the caller", free_caller);
  return NULL;
}

static struct grpc_status *refuse_message(void *arg, struct grpc_call *call) {
  const bool *is_over = arg;
  assert_string_equal(grpc_call_caller(call), "the caller");
  return *is_over ? grpc_status_new(GRPC_PERMISSION_DENIED, "no more") : NULL;
}

static void a_message_may_be_refused_and_that_ends_the_stream(void **state) {
  struct echo_server *e = *state;
  bool is_over = false;
  callers_freed = 0;
  grpc_server_on_open(e->server, let_in, NULL);
  grpc_server_on_message(e->server, refuse_message, &is_over);
  echo_assert_ok(echo_call(e, ECHO_UNARY, NULL, "x"));
  assert_int_equal(callers_freed, 1);
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_BIDI, NULL, false);
  struct str packed = echo_pack("number");
  h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
  while (h2_stream_message_count(s) == 0)
    echo_server_step(e);
  is_over = true;
  h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_PERMISSION_DENIED);
  assert_int_equal(h2_stream_message_count(s), 1);
  while (callers_freed < 2)
    echo_server_step(e);
  assert_int_equal(e->cancels, 1);
  echo_assert_trailers_only(echo_call(e, ECHO_UNARY, NULL, "x"), GRPC_PERMISSION_DENIED);
  assert_int_equal(callers_freed, 3);
  assert_int_equal(e->unary_calls, 1);
}

/* ---- statuses ---- */

static void malformed_protobuf_is_internal(void **state) {
  struct echo_server *e = *state;
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0\0\3\12\177a", 8)),
                            GRPC_INTERNAL);
  struct h2_stream *s = echo_call_bytes(e, ECHO_BIDI, NULL, str_of("\0\0\0\0\2\12\177", 7));
  assert_int_equal(s->grpc_status, GRPC_INTERNAL);
  assert_int_equal(e->unary_calls + e->messages, 0);
}

static void message_that_unpacks_too_large_is_refused(void **state) {
  struct echo_server *e = *state;
  /* 30,000 unknown fields of 2 bytes: protobuf-c keeps each with its own allocation. */
  size_t count = 30000;
  uint8_t *bytes = calloc(1, 5 + 2 * count);
  assert_non_null(bytes);
  bytes[2] = (uint8_t)(2 * count >> 16);
  bytes[3] = (uint8_t)(2 * count >> 8);
  bytes[4] = (uint8_t)(2 * count);
  for (size_t i = 0; i < count; i++)
    bytes[5 + 2 * i] = 0x78;
  struct h2_stream *s = echo_call_bytes(e, ECHO_UNARY, NULL, str_of(bytes, 5 + 2 * count));
  free(bytes);
  echo_assert_trailers_only(s, GRPC_INVALID_ARGUMENT);
  assert_int_equal(e->unary_calls, 0);
}

static void status_of_the_handler_reaches_the_caller(void **state) {
  struct echo_server *e = *state;
  e->next_status = grpc_status_new(GRPC_INVALID_ARGUMENT, "50%% \xe2\x98\xba");
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_trailers_only(s, GRPC_INVALID_ARGUMENT);
  assert_string_equal(s->message, "50%25 %E2%98%BA");
  assert_string_equal(s->details, "");
}

static void details_of_a_status_are_sent_as_base64_without_padding(void **state) {
  struct echo_server *e = *state;
  e->next_status = grpc_status_new(GRPC_UNAVAILABLE, "busy");
  grpc_status_set_retry_delay(e->next_status, 1500000);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNAVAILABLE);
  assert_null(strchr(s->details, '='));
  struct buf packed;
  buf_init(&packed, 8192);
  assert_true(grpc_base64_decode(str_z(s->details), &packed));
  Google__Rpc__Status *status =
      google__rpc__status__unpack(NULL, buf_len(&packed), buf_bytes(&packed));
  assert_non_null(status);
  assert_int_equal(status->code, GRPC_UNAVAILABLE);
  assert_int_equal(status->n_details, 1);
  google__rpc__status__free_unpacked(status, NULL);
  buf_deinit(&packed);
}

static void rs7_details_that_do_not_fit_are_left_out(void **state) {
  struct echo_server *e = *state;
  char text[500];
  memset(text, 'd', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  e->next_status = grpc_status_new(GRPC_INVALID_ARGUMENT, "bad");
  for (int i = 0; i < 20; i++)
    grpc_status_violate(&e->next_status, "field", "%s", text);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_trailers_only(s, GRPC_INVALID_ARGUMENT);
  assert_string_equal(s->message, "bad");
  assert_string_equal(s->details, "");
}

static void rs7_peer_with_a_small_header_limit_gets_whole_characters_up_to_it(void **state) {
  struct echo_server *e = *state;
  const nghttp2_settings_entry small = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1000};
  nghttp2_submit_settings(h2_client_session(client_of(e)), NGHTTP2_FLAG_NONE, &small, 1);
  echo_server_settle(e);
  char text[2000];
  memset(text, '%', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  e->next_status = grpc_status_new(GRPC_INTERNAL, "%s", text);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  assert_int_equal(s->grpc_status, GRPC_INTERNAL);
  size_t len = strlen(s->message);
  assert_true(len > 500 && len < 1000);
  assert_int_equal(len % 3, 0);
  for (size_t i = 0; i + 3 < sizeof(text); i += 3)
    memcpy(text + i, "\xe2\x98\xba", 3);
  e->next_status = grpc_status_new(GRPC_INTERNAL, "%s", text);
  s = echo_call(e, ECHO_UNARY, NULL, "x");
  len = strlen(s->message);
  assert_true(len > 500 && len < 1000);
  assert_int_equal(len % 9, 0);
}

static void rs5_failure_after_messages_comes_behind_them(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_BIDI, NULL, false);
  struct str packed = echo_pack("good");
  h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
  h2_client_send(client_of(e), s, "\3\0\0\0\0", 5, false);
  echo_wait_closed(e, s);
  assert_int_equal(h2_stream_message_count(s), 1);
  assert_int_equal(s->grpc_status, GRPC_INTERNAL);
  assert_int_equal(s->header_blocks, 2);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_int_equal(e->cancels, 1);
}

static void rs6_early_answer_is_followed_by_a_reset_without_error(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), "/no.Such/Method", NULL, false);
  echo_wait_closed(e, s);
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_NO_ERROR);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup_connected, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(unary_call_is_answered),
      CASE(client_stream_is_answered_at_its_half_close),
      CASE(client_stream_without_messages_is_answered),
      CASE(client_stream_that_is_all_headers_is_answered),
      CASE(server_stream_sends_all_its_answers),
      CASE(server_stream_of_nothing_is_ok),
      CASE(bidi_stream_answers_message_by_message),
      CASE(headers_of_a_bidi_stream_come_at_once),
      CASE(a_message_may_be_refused_and_that_ends_the_stream),
      CASE(malformed_protobuf_is_internal),
      CASE(message_that_unpacks_too_large_is_refused),
      CASE(status_of_the_handler_reaches_the_caller),
      CASE(details_of_a_status_are_sent_as_base64_without_padding),
      CASE(rs7_details_that_do_not_fit_are_left_out),
      CASE(rs7_peer_with_a_small_header_limit_gets_whole_characters_up_to_it),
      CASE(rs5_failure_after_messages_comes_behind_them),
      CASE(rs6_early_answer_is_followed_by_a_reset_without_error),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
