/* The wire rules of gRPC over HTTP/2, one test each. */
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

/* ---- RQ: request headers ---- */

static void rq1_method_other_than_post_is_405(void **state) {
  struct echo_server *e = *state;
  const struct h2_header put[] = {{":method", "PUT"}, {NULL, NULL}};
  struct h2_stream *s = echo_call(e, ECHO_UNARY, put, "x");
  assert_string_equal(s->http_status, "405");
  echo_assert_trailers_only(s, GRPC_INTERNAL);
  echo_assert_serving(e);
}

static void rq2_scheme_https_is_accepted(void **state) {
  struct echo_server *e = *state;
  const struct h2_header https[] = {{":scheme", "https"}, {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, https, "x"));
}

static void rq3_unknown_service_and_method_are_unimplemented(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call(e, "/no.Such/Method", NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  assert_string_equal(s->http_status, "200");
  assert_string_equal(s->message, "unknown service no.Such");
  s = echo_call(e, "/test.Echo/NoSuch", NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  assert_string_equal(s->message, "unknown method /test.Echo/NoSuch");
  echo_assert_trailers_only(echo_call(e, "/test.echo/Unary", NULL, "x"), GRPC_UNIMPLEMENTED);
  assert_int_equal(e->unary_calls, 0);
}

static void rq4_malformed_paths_are_unimplemented(void **state) {
  static const char *const paths[] = {"/Unary",
                                      "/test.Echo/",
                                      "//Unary",
                                      "/test.Echo//Unary",
                                      "/test.Echo/Unary/",
                                      "/test.Echo/Unary?x=1"};
  struct echo_server *e = *state;
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
    echo_assert_trailers_only(echo_call(e, paths[i], NULL, "x"), GRPC_UNIMPLEMENTED);
  assert_int_equal(e->unary_calls, 0);
}

static void rq5_forms_of_the_content_type_are_accepted_and_echoed(void **state) {
  static const char *const types[][2] = {
      {"application/grpc", "application/grpc"},
      {"application/grpc+proto", "application/grpc+proto"},
      {"application/grpc;charset=utf-8", "application/grpc"},
      {"application/grpc+proto;x=y", "application/grpc+proto"},
      {"Application/GRPC", "application/grpc"},
  };
  struct echo_server *e = *state;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    const struct h2_header type[] = {{"content-type", types[i][0]}, {NULL, NULL}};
    struct h2_stream *s = echo_call(e, ECHO_UNARY, type, "x");
    echo_assert_ok(s);
    assert_string_equal(s->content_type, types[i][1]);
  }
}

static void rq6_other_content_types_are_415(void **state) {
  static const char *const types[] = {"application/grpc-web", "application/grpc-web+proto",
                                      "application/json",     "text/html",
                                      "application/grp",      NULL};
  struct echo_server *e = *state;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    const struct h2_header type[] = {{"content-type", types[i]}, {NULL, NULL}};
    struct h2_stream *s = echo_call(e, ECHO_UNARY, type, "x");
    assert_string_equal(s->http_status, "415");
    echo_assert_trailers_only(s, GRPC_INVALID_ARGUMENT);
  }
  assert_int_equal(e->unary_calls, 0);
}

static void rq7_other_subtypes_are_unimplemented(void **state) {
  static const char *const types[] = {"application/grpc+json", "application/grpc+",
                                      "application/grpc+protobuf"};
  struct echo_server *e = *state;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    const struct h2_header type[] = {{"content-type", types[i]}, {NULL, NULL}};
    echo_assert_trailers_only(echo_call(e, ECHO_UNARY, type, "x"), GRPC_UNIMPLEMENTED);
  }
}

static void rq8_te_may_be_missing(void **state) {
  struct echo_server *e = *state;
  const struct h2_header no_te[] = {{"te", NULL}, {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, no_te, "x"));
}

static void rq9_malformed_timeout_is_internal(void **state) {
  struct echo_server *e = *state;
  const struct h2_header bad[] = {{"grpc-timeout", "10"}, {NULL, NULL}};
  struct h2_stream *s = echo_call(e, ECHO_UNARY, bad, "x");
  echo_assert_trailers_only(s, GRPC_INTERNAL);
  assert_string_equal(s->message, "malformed grpc-timeout");
}

static void rq9_last_of_several_timeouts_counts(void **state) {
  struct echo_server *e = *state;
  const struct h2_header two[] = {{"grpc-timeout", "1S"}, {"grpc-timeout", "99999H"}, {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, two, "x"));
  assert_true(e->deadline_us > clock_monotonic_us(&clock_system) + 3600000000LL);
}

static void rq12_unknown_headers_are_ignored(void **state) {
  struct echo_server *e = *state;
  const struct h2_header odd[] = {{"user-agent", "grpc-test/1"},
                                  {"accept-encoding", "identity"},
                                  {"grpc-previous-rpc-attempts", "2"},
                                  {"grpc-trace-bin", "not base64!"},
                                  {"grpc-accept-encoding", "identity,deflate,gzip"},
                                  {"x-empty", ""},
                                  {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, odd, "x"));
}

static void rq16_too_long_a_header_list_is_resource_exhausted(void **state) {
  struct echo_server *e = *state;
  char value[6000];
  memset(value, 'v', sizeof(value) - 1);
  value[sizeof(value) - 1] = '\0';
  const struct h2_header big[] = {{"a", value}, {"b", value}, {"c", value}, {NULL, NULL}};
  echo_assert_trailers_only(echo_call(e, ECHO_UNARY, big, "x"), GRPC_RESOURCE_EXHAUSTED);
  const struct h2_header fair[] = {{"a", value}, {"b", value}, {NULL, NULL}};
  echo_assert_ok(echo_call(e, ECHO_UNARY, fair, "x"));
}

/* Also when a field was passed over for it that there must be. */
static void rq16_too_long_a_path_is_resource_exhausted(void **state) {
  struct echo_server *e = *state;
  char path[17000];
  memset(path, 'p', sizeof(path) - 1);
  path[0] = '/';
  path[sizeof(path) - 1] = '\0';
  echo_assert_trailers_only(echo_call(e, path, NULL, "x"), GRPC_RESOURCE_EXHAUSTED);
}

static void rq16_too_many_headers_are_resource_exhausted(void **state) {
  struct echo_server *e = *state;
  struct h2_header many[121] = {{NULL, NULL}};
  for (size_t i = 0; i < 120; i++)
    many[i] = (struct h2_header){"x", "y"};
  echo_assert_trailers_only(echo_call(e, ECHO_UNARY, many, "x"), GRPC_RESOURCE_EXHAUSTED);
  many[90] = (struct h2_header){NULL, NULL};
  echo_assert_ok(echo_call(e, ECHO_UNARY, many, "x"));
}

static void rq17_unary_call_without_a_message_is_unimplemented(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_UNARY, NULL, true);
  echo_wait_closed(e, s);
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  assert_false(s->is_reset);
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("", 0)),
                            GRPC_UNIMPLEMENTED);
  assert_int_equal(e->unary_calls, 0);
}

static void rq18_request_trailers_end_the_request(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_UNARY, NULL, false);
  struct str packed = echo_pack("x");
  h2_client_send_message(client_of(e), s, packed.data, packed.len, false);
  echo_server_settle(e);
  const nghttp2_nv nv = {(uint8_t *)"x-checksum", (uint8_t *)"1", 10, 1, 0};
  nghttp2_submit_trailer(h2_client_session(client_of(e)), s->id, &nv, 1);
  echo_wait_closed(e, s);
  echo_assert_ok(s);
}

static void browser_gets_a_text(void **state) {
  struct echo_server *e = *state;
  const struct h2_header get[] = {{":method", "GET"}, {"content-type", NULL}, {NULL, NULL}};
  struct h2_stream *s = h2_client_open(client_of(e), "/", get, true);
  echo_wait_closed(e, s);
  assert_string_equal(s->http_status, "200");
  assert_string_equal(s->content_type, "text/plain; charset=utf-8");
  const char *body = (const char *)buf_bytes(&s->body);
  assert_non_null(memmem(body, buf_len(&s->body), "\n  test.Echo\n    Unary\n", 23));
  assert_true(s->was_data_last);
}

static void text_waits_for_the_end_of_the_request(void **state) {
  struct echo_server *e = *state;
  const struct h2_header post[] = {{"content-type", "text/plain"}, {NULL, NULL}};
  struct h2_stream *s = h2_client_open(client_of(e), "/", post, false);
  h2_client_send(client_of(e), s, "hello", 5, false);
  echo_server_settle(e);
  assert_int_equal(s->header_blocks, 0);
  h2_client_send(client_of(e), s, "", 0, true);
  echo_wait_closed(e, s);
  assert_string_equal(s->http_status, "200");
}

/* ---- FR: message framing ---- */

static void fr1_prefix_and_body_may_be_split_anywhere(void **state) {
  struct echo_server *e = *state;
  struct str packed = echo_pack("split");
  uint8_t whole[64] = {0, 0, 0, 0, (uint8_t)packed.len};
  memcpy(whole + 5, packed.data, packed.len);
  size_t len = 5 + packed.len;
  for (size_t cut = 0; cut <= len; cut++) {
    struct h2_stream *s = h2_client_open(client_of(e), ECHO_UNARY, NULL, false);
    h2_client_send(client_of(e), s, whole, cut, false);
    while (!s->is_deferred)
      echo_server_step(e);
    h2_client_send(client_of(e), s, whole + cut, len - cut, true);
    while (!s->is_closed)
      echo_server_step(e);
    echo_assert_ok(s);
    echo_assert_answer(s, 0, "split");
  }
}

static void fr2_many_messages_in_one_frame_keep_their_order(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_BIDI, NULL, false);
  for (int i = 0; i < 200; i++) {
    char text[16];
    snprintf(text, sizeof(text), "%d", i);
    struct str packed = echo_pack(text);
    h2_client_send_message(client_of(e), s, packed.data, packed.len, i == 199);
  }
  echo_wait_closed(e, s);
  echo_assert_ok(s);
  for (int i = 0; i < 200; i++) {
    char text[16];
    snprintf(text, sizeof(text), "%d", i);
    echo_assert_answer(s, (size_t)i, text);
  }
}

static void fr3_message_of_length_zero_reaches_the_handler(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0\0\0", 5));
  echo_assert_ok(s);
  assert_int_equal(e->unary_calls, 1);
  assert_int_equal(h2_stream_message_count(s), 1);
  s = echo_call_bytes(e, ECHO_BIDI, NULL, str_of("\0\0\0\0\0\0\0\0\0\0", 10));
  echo_assert_ok(s);
  assert_int_equal(e->messages, 2);
}

static void fr4_fr5_empty_data_frames_are_harmless(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = client_of(e);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  struct str packed = echo_pack("x");
  while (!s->is_deferred)
    echo_server_step(e);
  for (int i = 0; i < 5; i++)
    h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, 0, s->id}, "", 0);
  h2_client_send_message(client, s, packed.data, packed.len, false);
  while (!s->is_deferred)
    echo_server_step(e);
  h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, 0, s->id}, "", 0);
  h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, s->id}, "",
                      0);
  while (!s->has_end)
    echo_server_step(e);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "x");
}

static void fr6_unknown_flag_is_internal(void **state) {
  struct echo_server *e = *state;
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\2\0\0\0\0", 5)),
                            GRPC_INTERNAL);
  struct h2_stream *s = echo_call_bytes(e, ECHO_BIDI, NULL, str_of("\377\0\0\0\0", 5));
  assert_int_equal(s->grpc_status, GRPC_INTERNAL);
  echo_assert_serving(e);
}

static void fr7_compressed_message_without_encoding_is_internal(void **state) {
  struct echo_server *e = *state;
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\1\0\0\0\1x", 6)),
                            GRPC_INTERNAL);
  const struct h2_header identity[] = {{"grpc-encoding", "identity"}, {NULL, NULL}};
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, identity, str_of("\1\0\0\0\1x", 6)),
                            GRPC_INTERNAL);
}

static void cp2_unknown_compression_is_unimplemented_and_names_ours(void **state) {
  struct echo_server *e = *state;
  const struct h2_header deflate[] = {{"grpc-encoding", "deflate"}, {NULL, NULL}};
  struct h2_stream *s = echo_call_bytes(e, ECHO_UNARY, deflate, str_of("\1\0\0\0\1x", 6));
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  assert_string_equal(s->accept_encoding, "identity,gzip");
  /* Also when no message makes use of it, and before any of a stream. */
  echo_assert_trailers_only(echo_call(e, ECHO_UNARY, deflate, "not compressed"),
                            GRPC_UNIMPLEMENTED);
  s = h2_client_open(client_of(e), ECHO_BIDI, deflate, false);
  echo_wait_closed(e, s);
  echo_assert_trailers_only(s, GRPC_UNIMPLEMENTED);
  echo_assert_serving(e);
}

static void fr8_too_large_a_message_is_refused_at_its_prefix(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), ECHO_UNARY, NULL, false);
  h2_client_send(client_of(e), s, "\0\0\100\0\1", 5, false); /* 4 MiB and 1 */
  echo_wait_closed(e, s);
  echo_assert_trailers_only(s, GRPC_RESOURCE_EXHAUSTED);
  assert_string_equal(s->message, "a request message has 4194305 bytes, the maximum is 4194304");
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_NO_ERROR);
  echo_assert_serving(e);
}

static void fr9_request_cut_within_prefix_or_body_is_internal(void **state) {
  struct echo_server *e = *state;
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0", 3)),
                            GRPC_INTERNAL);
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0\0\3ab", 7)),
                            GRPC_INTERNAL);
  echo_assert_trailers_only(
      echo_call_bytes(e, ECHO_CLIENT_STREAM, NULL, str_of("\0\0\0\0\0\0\0", 7)), GRPC_INTERNAL);
  assert_int_equal(e->unary_calls, 0);
}

static void fr10_second_message_of_a_unary_call_is_unimplemented(void **state) {
  struct echo_server *e = *state;
  echo_assert_trailers_only(
      echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0\0\0\0\0\0\0\0", 10)), GRPC_UNIMPLEMENTED);
  echo_assert_trailers_only(echo_call_bytes(e, ECHO_UNARY, NULL, str_of("\0\0\0\0\0\0", 6)),
                            GRPC_UNIMPLEMENTED);
  struct h2_stream *s =
      echo_call_bytes(e, ECHO_SERVER_STREAM, NULL, str_of("\0\0\0\0\0\0\0\0\0\0", 10));
  assert_int_equal(s->grpc_status, GRPC_UNIMPLEMENTED);
  assert_int_equal(e->unary_calls, 0);
}

static void fr11_messages_after_our_trailers_are_dropped(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = h2_client_open(client_of(e), "/no.Such/Method", NULL, false);
  while (!s->has_end)
    echo_server_step(e);
  struct str packed = echo_pack("late");
  for (int i = 0; i < 10; i++)
    h2_client_raw_frame(client_of(e), (struct h2_frame){NGHTTP2_DATA, 0, s->id}, packed.data,
                        packed.len);
  echo_server_settle(e);
  echo_assert_serving(e);
}

static void fr12_padding_is_not_payload(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = client_of(e);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  struct str packed = echo_pack("padded");
  uint8_t frame[128] = {20, 0, 0, 0, 0, (uint8_t)packed.len};
  memcpy(frame + 6, packed.data, packed.len);
  h2_client_raw_frame(
      client, (struct h2_frame){NGHTTP2_DATA, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_END_STREAM, s->id},
      frame, 6 + packed.len + 20);
  while (!s->has_end)
    echo_server_step(e);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "padded");
}

static void fr13_message_in_frames_of_one_byte_is_assembled(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = client_of(e);
  char text[3000];
  memset(text, 'z', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  struct str packed = echo_pack(text);
  const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(packed.len >> 8), (uint8_t)packed.len};
  for (size_t i = 0; i < 5; i++)
    h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, 0, s->id}, prefix + i, 1);
  for (size_t i = 0; i < packed.len; i++) {
    uint8_t flags = i + 1 == packed.len ? NGHTTP2_FLAG_END_STREAM : 0;
    h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, flags, s->id}, packed.data + i, 1);
  }
  while (!s->has_end)
    echo_server_step(e);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, text);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup_connected, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(rq1_method_other_than_post_is_405),
      CASE(rq2_scheme_https_is_accepted),
      CASE(rq3_unknown_service_and_method_are_unimplemented),
      CASE(rq4_malformed_paths_are_unimplemented),
      CASE(rq5_forms_of_the_content_type_are_accepted_and_echoed),
      CASE(rq6_other_content_types_are_415),
      CASE(rq7_other_subtypes_are_unimplemented),
      CASE(rq8_te_may_be_missing),
      CASE(rq9_malformed_timeout_is_internal),
      CASE(rq9_last_of_several_timeouts_counts),
      CASE(rq12_unknown_headers_are_ignored),
      CASE(rq16_too_long_a_header_list_is_resource_exhausted),
      CASE(rq16_too_many_headers_are_resource_exhausted),
      CASE(rq16_too_long_a_path_is_resource_exhausted),
      CASE(rq17_unary_call_without_a_message_is_unimplemented),
      CASE(rq18_request_trailers_end_the_request),
      CASE(browser_gets_a_text),
      CASE(text_waits_for_the_end_of_the_request),
      CASE(fr1_prefix_and_body_may_be_split_anywhere),
      CASE(fr2_many_messages_in_one_frame_keep_their_order),
      CASE(fr3_message_of_length_zero_reaches_the_handler),
      CASE(fr4_fr5_empty_data_frames_are_harmless),
      CASE(fr6_unknown_flag_is_internal),
      CASE(fr7_compressed_message_without_encoding_is_internal),
      CASE(cp2_unknown_compression_is_unimplemented_and_names_ours),
      CASE(fr8_too_large_a_message_is_refused_at_its_prefix),
      CASE(fr9_request_cut_within_prefix_or_body_is_internal),
      CASE(fr10_second_message_of_a_unary_call_is_unimplemented),
      CASE(fr11_messages_after_our_trailers_are_dropped),
      CASE(fr12_padding_is_not_payload),
      CASE(fr13_message_in_frames_of_one_byte_is_assembled),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
