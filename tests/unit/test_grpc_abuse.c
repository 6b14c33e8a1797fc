/* Peers that speak something else, or too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/echo_server.h"

static struct h2_client *start(struct echo_server *e, uint32_t window) {
  echo_server_start(e);
  return echo_server_connect(e, window);
}

/* ---- strangers and abuse ---- */

static void http1_request_gets_a_readable_answer(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  const char request[] = "POST /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
  h2_client_raw(raw, request, sizeof(request) - 1);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  const struct buf *received = h2_client_received(raw);
  char answer[1000] = "";
  assert_in_range(buf_len(received), 100, sizeof(answer) - 1);
  memcpy(answer, buf_bytes(received), buf_len(received));
  assert_memory_equal(answer, "HTTP/1.1 400 Bad Request\r\n", 26);
  const char *body = strstr(answer, "\r\n\r\n");
  const char *length = strstr(answer, "Content-Length: ");
  assert_non_null(body);
  assert_non_null(length);
  assert_int_equal(strlen(body + 4), strtol(length + 16, NULL, 10));
  echo_assert_serving(e);
}

static void bytes_that_are_no_http_are_closed_without_an_answer(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw(raw, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  echo_assert_serving(e);
}

static void connections_above_the_maximum_are_closed(void **state) {
  struct echo_server *e = *state;
  e->config.max_connections = 2;
  start(e, 0);
  echo_server_connect(e, 0);
  echo_assert_serving(e);
  struct h2_client *third = echo_server_connect_raw(e);
  while (!h2_client_is_closed(third))
    echo_server_step(e);
  echo_assert_serving(e);
}

static void flood_ends_the_connection(struct echo_server *e, struct h2_frame frame,
                                      struct str payload) {
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw_preface(raw);
  for (int i = 0; i < 60000; i++)
    h2_client_raw_frame(raw, frame, payload.data, payload.len);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  echo_assert_serving(e);
}

static void flood_of_window_updates_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, (struct h2_frame){NGHTTP2_WINDOW_UPDATE, 0, 0},
                            str_of("\0\0\0\1", 4));
}

static void flood_of_unknown_frames_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, (struct h2_frame){0xbe, 0, 0}, str_of("", 0));
}

static void flood_of_priority_frames_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, (struct h2_frame){NGHTTP2_PRIORITY, 0, 3},
                            str_of("\0\0\0\0\0", 5));
}

static void flood_of_pings_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, (struct h2_frame){NGHTTP2_PING, 0, 0}, str_of("12345678", 8));
}

static void flood_of_empty_data_is_answered_with_goaway(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  for (int i = 0; i < 15000; i++)
    h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, 0, s->id}, "", 0);
  while (!h2_client_has_goaway(client))
    echo_server_step(e);
  assert_int_equal(h2_client_goaway_code(client), NGHTTP2_ENHANCE_YOUR_CALM);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  echo_assert_serving(e);
}

static void stream_of_small_messages_is_no_flood(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 1 << 20);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  for (int i = 0; i < 25000; i++) {
    h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_DATA, 0, s->id}, "\0\0\0\0\0", 5);
    if (i % 1000 == 0)
      echo_server_step(e);
  }
  while (h2_stream_message_count(s) < 25000) {
    echo_server_step(e);
    assert_false(h2_client_has_goaway(client));
  }
}

static void window_updates_that_answers_cause_are_no_flood(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  for (int round = 0; round < 80; round++) {
    struct h2_stream *last = NULL;
    for (int i = 0; i < 50; i++) {
      last = echo_open(client, ECHO_UNARY, NULL, "x");
      for (int k = 0; k < 4; k++)
        h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_WINDOW_UPDATE, 0, 0}, "\0\0\0\1", 4);
      echo_server_step(e);
    }
    while (!last->is_closed) {
      echo_server_step(e);
      assert_false(h2_client_has_goaway(client));
    }
  }
  echo_assert_serving(e);
}

static void streams_that_make_us_reset_them_end_the_connection(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *client = echo_server_connect(e, 0);
  const struct h2_header wrong[] = {{"content-length", "3"}, {NULL, NULL}};
  for (int i = 0; i < 300 && !h2_client_has_goaway(client); i++) {
    struct h2_stream *s = h2_client_open(client, ECHO_UNARY, wrong, false);
    h2_client_send(client, s, "\0\0\0\0\0", 5, true);
    while (!s->is_closed && !h2_client_has_goaway(client))
      echo_server_step(e);
    assert_true(i >= 100 || !h2_client_has_goaway(client));
  }
  assert_true(h2_client_has_goaway(client));
  assert_int_equal(h2_client_goaway_code(client), NGHTTP2_ENHANCE_YOUR_CALM);
  echo_assert_serving(e);
}

static void broken_frame_is_answered_with_goaway(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw_preface(raw);
  h2_client_raw_frame(raw, (struct h2_frame){NGHTTP2_PING, 0, 0}, "short", 5);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_int_equal(h2_client_raw_goaways(raw, NGHTTP2_FRAME_SIZE_ERROR), 1);
  echo_assert_serving(e);
}

static void flood_of_continuations_ends_the_connection(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw_preface(raw);
  h2_client_raw_frame(raw, (struct h2_frame){NGHTTP2_HEADERS, 0, 1}, "\x83", 1);
  for (int i = 0; i < 50; i++)
    h2_client_raw_frame(raw, (struct h2_frame){NGHTTP2_CONTINUATION, 0, 1}, "\x86", 1);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  echo_assert_serving(e);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(http1_request_gets_a_readable_answer),
      CASE(bytes_that_are_no_http_are_closed_without_an_answer),
      CASE(connections_above_the_maximum_are_closed),
      CASE(flood_of_window_updates_ends_the_connection),
      CASE(flood_of_unknown_frames_ends_the_connection),
      CASE(flood_of_priority_frames_ends_the_connection),
      CASE(flood_of_pings_ends_the_connection),
      CASE(flood_of_empty_data_is_answered_with_goaway),
      CASE(stream_of_small_messages_is_no_flood),
      CASE(window_updates_that_answers_cause_are_no_flood),
      CASE(streams_that_make_us_reset_them_end_the_connection),
      CASE(broken_frame_is_answered_with_goaway),
      CASE(flood_of_continuations_ends_the_connection),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
