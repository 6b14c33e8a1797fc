/* How calls, connections and the server end: deadlines, cancellation, stalls, abuse, draining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/listener.h"
#include "support/echo_server.h"

#define PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define EMPTY_SETTINGS "\0\0\0\4\0\0\0\0\0"

static const struct h2_header soon[] = {{"grpc-timeout", "60m"}, {NULL, NULL}};

/* Not started yet, so that tests can set limits. */
static int setup(void **state) {
  struct echo_server *e = calloc(1, sizeof(*e));
  assert_non_null(e);
  echo_server_init(e);
  *state = e;
  return 0;
}

static int teardown(void **state) {
  echo_server_stop(*state);
  free(*state);
  return 0;
}

static struct h2_client *start(struct echo_server *e, uint32_t window) {
  echo_server_start(e);
  return echo_server_connect(e, window);
}

static struct h2_stream *open_unary(struct h2_client *client, const struct h2_header *extra) {
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, extra, false);
  struct str packed = echo_pack("x");
  h2_client_send_message(client, s, packed.data, packed.len, true);
  return s;
}

static void wait_closed(struct echo_server *e, const struct h2_stream *s) {
  while (!s->is_closed)
    echo_server_step(e);
}

static void assert_still_serving(struct echo_server *e) {
  e->holds_calls = false;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "still there");
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_false(h2_client_has_goaway(e->clients[0]));
}

/* ---- deadlines ---- */

static void deadline_ends_a_call_that_the_handler_holds(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = open_unary(client, soon);
  wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
  assert_int_equal(s->header_blocks, 1);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_true(grpc_call_is_cancelled(e->held_calls[0]));
  echo_server_answer_held(e, "too late");
  assert_still_serving(e);
  assert_int_equal(e->cancels, 1);
}

static void deadline_of_zero_has_passed_on_arrival(void **state) {
  struct echo_server *e = *state;
  const struct h2_header zero[] = {{"grpc-timeout", "0m"}, {NULL, NULL}};
  start(e, 0);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, zero, "x");
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
  assert_int_equal(e->unary_calls, 0);
}

static void deadline_ends_a_stream_without_messages(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, soon, false);
  wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
}

static void handler_sees_the_deadline_on_the_loops_clock(void **state) {
  struct echo_server *e = *state;
  const struct h2_header timeout[] = {{"grpc-timeout", "30S"}, {NULL, NULL}};
  start(e, 0);
  int64_t before = clock_monotonic_us(&clock_system);
  echo_call(e, ECHO_UNARY, timeout, "x");
  assert_true(e->deadline_us >= before + 30000000);
  assert_true(e->deadline_us <= clock_monotonic_us(&clock_system) + 30000000);
  echo_call(e, ECHO_UNARY, NULL, "x");
  assert_true(e->deadline_us == CLOCK_NEVER);
}

static void many_deadlines_of_one_connection_pass_without_goaway(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  struct h2_stream *streams[90];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 90; i++) {
      char text[16];
      snprintf(text, sizeof(text), "%dm", 10 + (i * 37) % 90);
      const struct h2_header timeout[] = {{"grpc-timeout", text}, {NULL, NULL}};
      streams[i] = h2_client_open(client, ECHO_CLIENT_STREAM, timeout, false);
    }
    for (int i = 0; i < 90; i++) {
      wait_closed(e, streams[i]);
      assert_int_equal(streams[i]->grpc_status, GRPC_DEADLINE_EXCEEDED);
    }
  }
  assert_still_serving(e);
}

static void deadline_within_a_half_sent_message_resets_the_stream(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 100);
  h2_client_set_reading(client, false);
  e->stream_count = 1;
  e->stream_size = 5000;
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, soon, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  wait_closed(e, s);
  assert_int_equal(buf_len(&s->body), 100);
  assert_int_equal(s->grpc_status, -1);
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_CANCEL);
  assert_still_serving(e);
}

static void deadline_between_messages_sends_trailers_past_a_shut_window(void **state) {
  struct echo_server *e = *state;
  /* A message of 93 bytes takes 100 with its field and its prefix: two fill the window. */
  struct h2_client *client = start(e, 200);
  h2_client_set_reading(client, false);
  e->stream_count = 10000;
  e->stream_size = 93;
  e->waits_writable = true;
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, soon, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  wait_closed(e, s);
  assert_int_equal(h2_stream_message_count(s), 2);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
  while (e->cancels == 0)
    echo_server_step(e);
}

/* ---- cancellation ---- */

static void reset_by_the_peer_cancels_the_call(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = open_unary(client, NULL);
  while (e->held_call_count == 0)
    echo_server_step(e);
  assert_false(grpc_call_is_cancelled(e->held_calls[0]));
  h2_client_reset(client, s, NGHTTP2_CANCEL);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_true(grpc_call_is_cancelled(e->held_calls[0]));
  echo_server_answer_held(e, "nobody listens");
  assert_still_serving(e);
}

static void lost_connection_cancels_its_calls(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  for (int i = 0; i < 3; i++)
    open_unary(client, NULL);
  while (e->held_call_count < 3)
    echo_server_step(e);
  h2_client_free(client);
  e->client_count = 0;
  while (e->cancels < 3)
    echo_server_step(e);
  echo_server_answer_held(e, "nobody listens");
  echo_server_connect(e, 0);
  assert_still_serving(e);
}

static void cancelled_before_the_message_never_runs(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  h2_client_send(client, s, "\0\0\0", 3, false);
  echo_server_settle(e);
  h2_client_reset(client, s, NGHTTP2_CANCEL);
  echo_server_settle(e);
  assert_int_equal(e->unary_calls, 0);
  assert_still_serving(e);
}

static void three_thousand_quick_cancels_keep_the_connection(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  echo_call(e, ECHO_UNARY, NULL, "x");
  for (int i = 0; i < 3000; i++) {
    struct h2_stream *s = open_unary(client, NULL);
    h2_client_step(client);
    h2_client_reset(client, s, NGHTTP2_CANCEL);
    if (i % 10 == 0)
      echo_server_step(e);
  }
  echo_server_settle(e);
  assert_still_serving(e);
}

static void handlers_that_still_run_count_against_the_stream_limit(void **state) {
  struct echo_server *e = *state;
  e->config.max_concurrent_streams = 4;
  struct h2_client *client = start(e, 0);
  echo_server_settle(e);
  e->holds_calls = true;
  for (int i = 0; i < 4; i++) {
    struct h2_stream *s = open_unary(client, NULL);
    while (e->unary_calls <= i)
      echo_server_step(e);
    h2_client_reset(client, s, NGHTTP2_CANCEL);
  }
  while (e->cancels < 4)
    echo_server_step(e);
  struct h2_stream *s = open_unary(client, NULL);
  wait_closed(e, s);
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_REFUSED_STREAM);
  assert_int_equal(e->unary_calls, 4);
  echo_server_answer_held(e, "nobody listens");
  assert_still_serving(e);
}

/* ---- slowness ---- */

static void half_a_request_that_stalls_is_ended(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 80000;
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\5ab", 7, false);
  struct h2_stream *bidi = h2_client_open(client, ECHO_BIDI, NULL, false);
  wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
  echo_server_settle(e);
  assert_false(bidi->is_closed);
}

static void answer_that_nobody_takes_is_cut_off(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 80000;
  struct h2_client *client = start(e, 0);
  h2_client_set_reading(client, false);
  e->stream_count = 100;
  e->stream_size = 10000;
  e->waits_writable = true;
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  wait_closed(e, s);
  assert_true(s->is_reset);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_still_serving(e);
}

static void silent_connection_is_closed_after_the_handshake_timeout(void **state) {
  struct echo_server *e = *state;
  e->config.handshake_timeout_us = 50000;
  start(e, 0);
  struct h2_client *silent = echo_server_connect_raw(e);
  while (!h2_client_is_closed(silent))
    echo_server_step(e);
  assert_still_serving(e);
}

static void half_a_header_block_is_closed_after_the_handshake_timeout(void **state) {
  struct echo_server *e = *state;
  e->config.handshake_timeout_us = 50000;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw(raw, PREFACE EMPTY_SETTINGS, sizeof(PREFACE EMPTY_SETTINGS) - 1);
  h2_client_raw_frame(raw, NGHTTP2_HEADERS, 0, 1, "\x83", 1); /* :method POST, no END_HEADERS */
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_still_serving(e);
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
  assert_true(buf_len(received) > 100);
  assert_memory_equal(buf_bytes(received), "HTTP/1.1 400 Bad Request\r\n", 26);
  struct str all = str_of(buf_bytes(received), buf_len(received));
  const char *body = memmem(all.data, all.len, "\r\n\r\n", 4);
  const char *length = memmem(all.data, all.len, "Content-Length: ", 16);
  assert_non_null(body);
  assert_non_null(length);
  assert_int_equal(all.data + all.len - (body + 4), strtol(length + 16, NULL, 10));
  assert_still_serving(e);
}

static void bytes_that_are_no_http_are_closed_without_an_answer(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw(raw, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_still_serving(e);
}

static void connections_above_the_maximum_are_closed(void **state) {
  struct echo_server *e = *state;
  e->config.max_connections = 2;
  start(e, 0);
  echo_server_connect(e, 0);
  assert_still_serving(e);
  struct h2_client *third = echo_server_connect_raw(e);
  while (!h2_client_is_closed(third))
    echo_server_step(e);
  assert_still_serving(e);
}

static void raw_preface(struct h2_client *raw) {
  h2_client_raw(raw, PREFACE EMPTY_SETTINGS, sizeof(PREFACE EMPTY_SETTINGS) - 1);
}

/* The last frame of what came is GOAWAY with that code. */
static void assert_goaway(const struct h2_client *raw, uint32_t code) {
  const struct buf *received = h2_client_received(raw);
  const uint8_t *p = buf_bytes(received);
  size_t left = buf_len(received);
  bool found = false;
  while (left >= 9) {
    size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    assert_true(left >= 9 + len);
    if (p[3] == NGHTTP2_GOAWAY) {
      found = true;
      assert_int_equal((uint32_t)p[13] << 24 | (uint32_t)p[14] << 16 | p[15] << 8 | p[16], code);
    }
    p += 9 + len;
    left -= 9 + len;
  }
  assert_true(found);
}

static void flood_ends_the_connection(struct echo_server *e, uint8_t type, uint8_t flags,
                                      int32_t id, const char *payload, size_t len) {
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  raw_preface(raw);
  for (int i = 0; i < 60000; i++)
    h2_client_raw_frame(raw, type, flags, id, payload, len);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_still_serving(e);
}

static void flood_of_window_updates_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void flood_of_unknown_frames_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, 0xbe, 0, 0, "", 0);
}

static void flood_of_priority_frames_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, NGHTTP2_PRIORITY, 0, 3, "\0\0\0\0\0", 5);
}

static void flood_of_pings_ends_the_connection(void **state) {
  flood_ends_the_connection(*state, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void flood_of_empty_data_is_answered_with_goaway(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  for (int i = 0; i < 15000; i++)
    h2_client_raw_frame(client, NGHTTP2_DATA, 0, s->id, "", 0);
  while (!h2_client_has_goaway(client))
    echo_server_step(e);
  assert_int_equal(h2_client_goaway_code(client), NGHTTP2_ENHANCE_YOUR_CALM);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  assert_still_serving(e);
}

static void stream_of_small_messages_is_no_flood(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 1 << 20);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  while (!s->is_deferred)
    echo_server_step(e);
  for (int i = 0; i < 25000; i++) {
    h2_client_raw_frame(client, NGHTTP2_DATA, 0, s->id, "\0\0\0\0\0", 5);
    if (i % 1000 == 0)
      echo_server_step(e);
  }
  while (h2_stream_message_count(s) < 25000) {
    echo_server_settle(e);
    assert_false(h2_client_has_goaway(client));
  }
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
  assert_still_serving(e);
}

static void broken_frame_is_answered_with_goaway(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  raw_preface(raw);
  h2_client_raw_frame(raw, NGHTTP2_PING, 0, 0, "short", 5);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_goaway(raw, NGHTTP2_FRAME_SIZE_ERROR);
  assert_still_serving(e);
}

static void flood_of_continuations_ends_the_connection(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  raw_preface(raw);
  h2_client_raw_frame(raw, NGHTTP2_HEADERS, 0, 1, "\x83", 1);
  for (int i = 0; i < 50; i++)
    h2_client_raw_frame(raw, NGHTTP2_CONTINUATION, 0, 1, "\x86", 1);
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  assert_still_serving(e);
}

/* ---- draining ---- */

static void on_drained(void *arg) {
  ((struct echo_server *)arg)->is_drained = true;
}

static void drain(struct echo_server *e, int64_t after_us) {
  grpc_server_drain(e->server, clock_monotonic_us(&clock_system) + after_us, on_drained, e);
  assert_false(e->is_drained);
}

static void idle_connections_are_closed_by_a_drain(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  assert_still_serving(e);
  drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  assert_int_equal(h2_client_goaway_count(client), 2);
  assert_int_equal(h2_client_goaway_code(client), NGHTTP2_NO_ERROR);
}

static void drain_without_listening_is_done_at_once(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  h2_client_free(e->clients[0]);
  e->client_count = 0;
  drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
}

static void running_calls_end_well_during_a_drain(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = open_unary(client, NULL);
  while (e->held_call_count == 0)
    echo_server_step(e);
  drain(e, 15000000);
  while (h2_client_goaway_count(client) < 2)
    echo_server_step(e);
  echo_server_settle(e);
  assert_false(e->is_drained);
  assert_false(h2_client_is_closed(client));
  echo_server_answer_held(e, "done");
  wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(echo_answer(s, 0).len, 4);
  while (!e->is_drained)
    echo_server_step(e);
}

static void streams_are_told_of_a_drain_and_end(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  struct h2_stream *silent = h2_client_open(client, ECHO_BIDI, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, false);
  while (h2_stream_message_count(s) == 0)
    echo_server_step(e);
  drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
  assert_int_equal(e->drains, 1);
  wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(silent->grpc_status, GRPC_UNAVAILABLE);
}

static void calls_open_at_the_drain_deadline_are_cut_off(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  open_unary(client, NULL);
  while (e->held_call_count == 0)
    echo_server_step(e);
  drain(e, 50000);
  while (!e->is_drained)
    echo_server_step(e);
  assert_int_equal(e->cancels, 1);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  /* The teardown finishes the call after the server is freed. */
}

static void new_connections_are_refused_during_a_drain(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = open_unary(client, NULL);
  while (e->held_call_count == 0)
    echo_server_step(e);
  drain(e, 15000000);
  echo_server_settle(e);
  struct error err = {0};
  struct net_listener *listener = NULL;
  char address[32];
  snprintf(address, sizeof(address), "127.0.0.1:%d", e->port);
  /* The port is free again: someone else may have it. */
  const struct net_listener_options options = {.address = address, .max_connections = 1};
  assert_int_equal(net_listener_new(&listener, &e->loop, &options, &err), 0);
  net_listener_close(listener, NULL, NULL);
  echo_server_answer_held(e, "done");
  wait_closed(e, s);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(deadline_ends_a_call_that_the_handler_holds),
      CASE(deadline_of_zero_has_passed_on_arrival),
      CASE(deadline_ends_a_stream_without_messages),
      CASE(handler_sees_the_deadline_on_the_loops_clock),
      CASE(many_deadlines_of_one_connection_pass_without_goaway),
      CASE(deadline_within_a_half_sent_message_resets_the_stream),
      CASE(deadline_between_messages_sends_trailers_past_a_shut_window),
      CASE(reset_by_the_peer_cancels_the_call),
      CASE(lost_connection_cancels_its_calls),
      CASE(cancelled_before_the_message_never_runs),
      CASE(three_thousand_quick_cancels_keep_the_connection),
      CASE(handlers_that_still_run_count_against_the_stream_limit),
      CASE(half_a_request_that_stalls_is_ended),
      CASE(answer_that_nobody_takes_is_cut_off),
      CASE(silent_connection_is_closed_after_the_handshake_timeout),
      CASE(half_a_header_block_is_closed_after_the_handshake_timeout),
      CASE(http1_request_gets_a_readable_answer),
      CASE(bytes_that_are_no_http_are_closed_without_an_answer),
      CASE(connections_above_the_maximum_are_closed),
      CASE(flood_of_window_updates_ends_the_connection),
      CASE(flood_of_unknown_frames_ends_the_connection),
      CASE(flood_of_priority_frames_ends_the_connection),
      CASE(flood_of_pings_ends_the_connection),
      CASE(flood_of_empty_data_is_answered_with_goaway),
      CASE(stream_of_small_messages_is_no_flood),
      CASE(streams_that_make_us_reset_them_end_the_connection),
      CASE(broken_frame_is_answered_with_goaway),
      CASE(flood_of_continuations_ends_the_connection),
      CASE(idle_connections_are_closed_by_a_drain),
      CASE(drain_without_listening_is_done_at_once),
      CASE(running_calls_end_well_during_a_drain),
      CASE(streams_are_told_of_a_drain_and_end),
      CASE(calls_open_at_the_drain_deadline_are_cut_off),
      CASE(new_connections_are_refused_during_a_drain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
