/* Metadata of requests and answers, and the hook that sees each call first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/echo_server.h"

/* What the hook saw, "key=value;" for each field; a NUL in a value as "0". */
static char seen[1024];

static void note(struct str key, struct str value) {
  size_t used = strlen(seen);
  used += (size_t)snprintf(seen + used, sizeof(seen) - used, "%.*s=", (int)key.len, key.data);
  for (size_t i = 0; i < value.len && used + 2 < sizeof(seen); i++)
    seen[used++] = (char)(value.data[i] ? value.data[i] : '0');
  seen[used++] = ';';
  seen[used] = '\0';
}

static void note_metadata(const struct grpc_call *call) {
  struct str key;
  struct str value;
  seen[0] = '\0';
  for (size_t offset = 0; grpc_call_metadata(call, &offset, &key, &value);)
    note(key, value);
}

static struct grpc_status *note_all(void *arg, struct grpc_call *call,
                                    const struct grpc_method *method) {
  (void)arg;
  (void)method;
  note_metadata(call);
  return NULL;
}

static struct grpc_status *add_both(void *arg, struct grpc_call *call,
                                    const struct grpc_method *method) {
  (void)arg;
  (void)method;
  assert_true(grpc_call_add_header(call, str_z("x-first"), str_z("a header")));
  assert_true(grpc_call_add_header(call, str_z("x-raw-bin"), str_of("\0\377", 2)));
  assert_true(grpc_call_add_trailer(call, str_z("x-last"), str_z("a trailer")));
  assert_true(grpc_call_add_trailer(call, str_z("x-last"), str_z("another")));
  return NULL;
}

static struct grpc_status *refuse(void *arg, struct grpc_call *call,
                                  const struct grpc_method *method) {
  (void)arg;
  assert_true(grpc_call_add_trailer(call, str_z("x-why"), str_z("no token")));
  struct grpc_status *status = grpc_status_new(GRPC_UNAUTHENTICATED, "not for %s", method->name);
  grpc_status_violate(&status, "token", "is missing");
  return status;
}

static struct grpc_status *hold(void *arg, struct grpc_call *call,
                                const struct grpc_method *method) {
  (void)arg;
  (void)method;
  grpc_call_hold_headers(call);
  return NULL;
}

static struct grpc_status *try_what_may_not_be_sent(void *arg, struct grpc_call *call,
                                                    const struct grpc_method *method) {
  static const char *const keys[] = {"",  ":status",      "grpc-status", "content-type",
                                     "X", "has blank",    "te",          "connection",
                                     "ä", "grpc-timeout", "user-agent"};
  (void)arg;
  (void)method;
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
    assert_false(grpc_call_add_header(call, str_z(keys[i]), str_z("v")));
    assert_false(grpc_call_add_trailer(call, str_z(keys[i]), str_z("v")));
  }
  assert_false(grpc_call_add_trailer(call, str_z("x"), str_z("line\nbreak")));
  assert_false(grpc_call_add_trailer(call, str_z("x"), str_z("\xC3\xA4")));
  return NULL;
}

static struct grpc_status *add_too_much(void *arg, struct grpc_call *call,
                                        const struct grpc_method *method) {
  char value[1000];
  int added = 0;
  (void)arg;
  (void)method;
  memset(value, 'v', sizeof(value));
  while (grpc_call_add_trailer(call, str_z("x"), str_of(value, sizeof(value))))
    added++;
  assert_int_equal(added, 3);
  for (added = 0; grpc_call_add_header(call, str_z("x"), str_z("v")); added++)
    assert_true(added < 100);
  assert_int_equal(added, 32);
  return NULL;
}

static struct echo_server *start(void **state, grpc_open_cb *hook) {
  struct echo_server *e = *state;
  e->on_open = hook;
  echo_server_start(e);
  echo_server_connect(e, 0);
  return e;
}

/* ---- what comes ---- */

static void rq12_metadata_comes_in_order_without_reserved_names(void **state) {
  struct echo_server *e = start(state, note_all);
  const struct h2_header headers[] = {{"x-one", "1"},           {"x-two", " blanks "},
                                      {"x-one", "again"},       {"grpc-trace-bin", "AAAA"},
                                      {"user-agent", "test"},   {"authorization", "Bearer t"},
                                      {"accept-encoding", "x"}, {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, headers, "x"));
  assert_string_equal(seen,
                      "x-one=1;x-two=blanks;x-one=again;authorization=Bearer t;accept-encoding=x;");
}

static void binary_values_are_decoded_each_by_itself(void **state) {
  struct echo_server *e = start(state, note_all);
  const struct h2_header headers[] = {{"a-bin", "AGE="},         {"b-bin", "AGE"},
                                      {"c-bin", "YQ==, Yg,,Yw"}, {"d-bin", ""},
                                      {"-bin", "plain"},         {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, headers, "x"));
  assert_string_equal(seen, "a-bin=0a;b-bin=0a;c-bin=a;c-bin=b;c-bin=;c-bin=c;d-bin=;-bin=plain;");
}

static void binary_value_that_is_not_base64_is_internal(void **state) {
  struct echo_server *e = start(state, NULL);
  const struct h2_header headers[] = {{"a-bin", "AAAA,!"}, {NULL, NULL}};
  echo_assert_trailers_only(echo_call(e, ECHO_UNARY, headers, "x"), GRPC_INTERNAL);
  assert_int_equal(e->unary_calls, 0);
}

static void handlers_see_it_until_it_is_dropped(void **state) {
  struct echo_server *e = start(state, note_all);
  const struct h2_header headers[] = {{"x-one", "1"}, {NULL, NULL}};
  e->holds_calls = true;
  struct h2_stream *s = echo_open(e->clients[0], ECHO_UNARY, headers, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  note_metadata(e->held_calls[0]);
  assert_string_equal(seen, "x-one=1;");
  grpc_call_drop_metadata(e->held_calls[0]);
  note_metadata(e->held_calls[0]);
  assert_string_equal(seen, "");
  echo_server_answer_held(e, "done");
  echo_wait_closed(e, s);
  echo_assert_ok(s);
}

/* ---- what goes ---- */

static void metadata_goes_before_and_behind_the_answer(void **state) {
  struct echo_server *e = start(state, add_both);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_ok(s);
  assert_string_equal(s->fields,
                      "x-first=a header;x-raw-bin=AP8;|x-last=a trailer;x-last=another;");
}

static void rs2_pending_headers_go_before_an_error(void **state) {
  struct echo_server *e = start(state, add_both);
  e->next_status = grpc_status_new(GRPC_NOT_FOUND, "nothing");
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  assert_int_equal(s->grpc_status, GRPC_NOT_FOUND);
  assert_int_equal(s->header_blocks, 2);
  assert_string_equal(s->fields,
                      "x-first=a header;x-raw-bin=AP8;|x-last=a trailer;x-last=another;");
}

static void rs8_reserved_and_malformed_fields_are_not_sent(void **state) {
  struct echo_server *e = start(state, try_what_may_not_be_sent);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_ok(s);
  assert_string_equal(s->fields, "|");
}

static void rs7_metadata_has_a_limit_and_leaves_room_for_the_status(void **state) {
  struct echo_server *e = start(state, add_too_much);
  char text[9000];
  memset(text, 'm', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  e->next_status = grpc_status_new(GRPC_INTERNAL, "%s", text);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  assert_int_equal(s->grpc_status, GRPC_INTERNAL);
  assert_true(strlen(s->message) > 1000);
  assert_true(strlen(s->message) + strlen(s->fields) < 8192);
}

/* ---- the hook ---- */

static void a_hook_may_refuse(void **state) {
  struct echo_server *e = start(state, refuse);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNAUTHENTICATED);
  assert_string_equal(s->message, "not for Unary");
  assert_true(strlen(s->details) > 0);
  assert_string_equal(s->fields, "x-why=no token;|");
  assert_int_equal(e->unary_calls, 0);
  s = echo_call(e, ECHO_BIDI, NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNAUTHENTICATED);
  assert_int_equal(e->messages, 0);
}

static void rs4_headers_of_a_stream_may_wait_for_the_first_message(void **state) {
  struct echo_server *e = start(state, hold);
  struct h2_stream *s = h2_client_open(e->clients[0], ECHO_BIDI, NULL, false);
  echo_server_settle(e);
  assert_int_equal(s->header_blocks, 0);
  struct str packed = echo_pack("now");
  h2_client_send_message(e->clients[0], s, packed.data, packed.len, true);
  echo_wait_closed(e, s);
  assert_int_equal(s->header_blocks, 2);
  echo_assert_answer(s, 0, "now");
}

static void headers_are_too_late_once_they_went(void **state) {
  struct echo_server *e = start(state, NULL);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(e->clients[0], ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  struct grpc_call *call = e->held_calls[0];
  assert_true(grpc_call_add_header(call, str_z("x-early"), str_z("1")));
  grpc_call_send_headers(call);
  while (s->header_blocks == 0)
    echo_server_step(e);
  assert_false(grpc_call_add_header(call, str_z("x-late"), str_z("1")));
  assert_true(grpc_call_add_trailer(call, str_z("x-end"), str_z("1")));
  echo_server_answer_held(e, "done");
  echo_wait_closed(e, s);
  echo_assert_ok(s);
  assert_string_equal(s->fields, "x-early=1;|x-end=1;");
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(rq12_metadata_comes_in_order_without_reserved_names),
      CASE(binary_values_are_decoded_each_by_itself),
      CASE(binary_value_that_is_not_base64_is_internal),
      CASE(handlers_see_it_until_it_is_dropped),
      CASE(metadata_goes_before_and_behind_the_answer),
      CASE(rs2_pending_headers_go_before_an_error),
      CASE(rs8_reserved_and_malformed_fields_are_not_sent),
      CASE(rs7_metadata_has_a_limit_and_leaves_room_for_the_status),
      CASE(a_hook_may_refuse),
      CASE(rs4_headers_of_a_stream_may_wait_for_the_first_message),
      CASE(headers_are_too_late_once_they_went),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
