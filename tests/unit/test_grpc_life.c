/* How calls end other than by their handler: deadlines, cancellation, stalls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/echo_server.h"

static const struct h2_header soon[] = {{"grpc-timeout", "60m"}, {NULL, NULL}};

static struct h2_client *start(struct echo_server *e, uint32_t window) {
  echo_server_start(e);
  return echo_server_connect(e, window);
}

/* ---- deadlines ---- */

static void deadline_ends_a_call_that_the_handler_holds(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(client, ECHO_UNARY, soon, "x");
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
  assert_int_equal(s->header_blocks, 1);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_true(grpc_call_is_cancelled(e->held_calls[0]));
  echo_server_answer_held(e, "too late");
  echo_assert_serving(e);
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
  echo_wait_closed(e, s);
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
  for (int round = 0; round < 112; round++) {
    for (int i = 0; i < 90; i++) {
      char text[16];
      snprintf(text, sizeof(text), "%dm", 1 + (i * 37) % 9);
      const struct h2_header timeout[] = {{"grpc-timeout", text}, {NULL, NULL}};
      streams[i] = h2_client_open(client, ECHO_CLIENT_STREAM, timeout, false);
    }
    for (int i = 0; i < 90; i++) {
      echo_wait_closed(e, streams[i]);
      assert_int_equal(streams[i]->grpc_status, GRPC_DEADLINE_EXCEEDED);
    }
  }
  echo_assert_serving(e);
}

static void deadlines_of_answered_calls_are_forgotten(void **state) {
  struct echo_server *e = *state;
  const struct h2_header later[] = {{"grpc-timeout", "120m"}, {NULL, NULL}};
  struct h2_client *client = start(e, 0);
  for (int i = 0; i < 20; i++)
    assert_int_equal(echo_call(e, ECHO_UNARY, soon, "x")->grpc_status, GRPC_OK);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(client, ECHO_UNARY, later, "x");
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
}

static void deadline_within_a_half_sent_message_resets_the_stream(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 100);
  h2_client_set_reading(client, false);
  char text[5000];
  memset(text, 't', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, soon, false);
  struct str packed = echo_pack(text);
  h2_client_send_message(client, s, packed.data, packed.len, false);
  echo_wait_closed(e, s);
  assert_int_equal(buf_len(&s->body), 100);
  assert_int_equal(s->grpc_status, -1);
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_CANCEL);
  while (e->cancels == 0)
    echo_server_step(e);
  echo_assert_serving(e);
}

static void deadline_resets_a_finished_call_whose_answer_is_not_taken(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 100);
  h2_client_set_reading(client, false);
  e->stream_count = 1;
  e->stream_size = 5000;
  struct h2_stream *s = echo_open(client, ECHO_SERVER_STREAM, soon, "go");
  echo_wait_closed(e, s);
  assert_int_equal(e->finished, 1);
  assert_int_equal(s->grpc_status, -1);
  assert_true(s->is_reset);
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
  echo_wait_closed(e, s);
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
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  assert_false(grpc_call_is_cancelled(e->held_calls[0]));
  h2_client_reset(client, s, NGHTTP2_CANCEL);
  while (e->cancels == 0)
    echo_server_step(e);
  assert_true(grpc_call_is_cancelled(e->held_calls[0]));
  echo_server_answer_held(e, "nobody listens");
  echo_assert_serving(e);
}

static void lost_connection_cancels_its_calls(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  for (int i = 0; i < 3; i++)
    echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count < 3)
    echo_server_step(e);
  h2_client_free(client);
  e->client_count = 0;
  while (e->cancels < 3)
    echo_server_step(e);
  echo_server_answer_held(e, "nobody listens");
  echo_server_connect(e, 0);
  echo_assert_serving(e);
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
  echo_assert_serving(e);
}

static void three_thousand_quick_cancels_keep_the_connection(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  echo_call(e, ECHO_UNARY, NULL, "x");
  for (int i = 0; i < 3000; i++) {
    struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
    h2_client_step(client);
    h2_client_reset(client, s, NGHTTP2_CANCEL);
    if (i % 10 == 0)
      echo_server_step(e);
  }
  echo_server_settle(e);
  echo_assert_serving(e);
}

static void handlers_that_still_run_count_against_the_stream_limit(void **state) {
  struct echo_server *e = *state;
  e->config.max_concurrent_streams = 4;
  struct h2_client *client = start(e, 0);
  echo_server_settle(e);
  e->holds_calls = true;
  for (int i = 0; i < 4; i++) {
    struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
    while (e->unary_calls <= i)
      echo_server_step(e);
    h2_client_reset(client, s, NGHTTP2_CANCEL);
  }
  while (e->cancels < 4)
    echo_server_step(e);
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  echo_wait_closed(e, s);
  assert_true(s->is_reset);
  assert_int_equal(s->reset_code, NGHTTP2_REFUSED_STREAM);
  assert_int_equal(e->unary_calls, 4);
  echo_server_answer_held(e, "nobody listens");
  echo_assert_serving(e);
}

/* ---- slowness ---- */

static void half_a_request_that_stalls_is_ended(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 80000;
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\5ab", 7, false);
  struct h2_stream *bidi = h2_client_open(client, ECHO_BIDI, NULL, false);
  echo_wait_closed(e, s);
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
  echo_wait_closed(e, s);
  assert_true(s->is_reset);
  while (e->cancels == 0)
    echo_server_step(e);
  echo_assert_serving(e);
}

/* Lets the loop stand still until its next tick is long due. */
static void let_tick_become_due(struct echo_server *e) {
  int64_t until = clock_monotonic_us(&clock_system) + 2 * e->config.write_timeout_us;
  while (clock_monotonic_us(&clock_system) < until)
    h2_client_wait(e->clients[0]);
}

static void answer_of_a_slow_handler_is_not_taken_for_a_stall(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 40000;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  let_tick_become_due(e);
  echo_server_answer_held(e, "slow");
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
}

static void failure_of_a_slow_handler_is_not_taken_for_a_stall(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 40000;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  let_tick_become_due(e);
  e->next_status = grpc_status_new(GRPC_ABORTED, "slow");
  echo_server_answer_held(e, "");
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_ABORTED);
}

static void message_after_a_long_silence_is_not_taken_for_a_stall(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 40000;
  struct h2_client *client = start(e, 0);
  e->holds_messages = true;
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  /* One whole message, and the beginning of another. */
  h2_client_send(client, s, "\0\0\0\0\0\0\0", 7, false);
  while (e->held_count == 0)
    echo_server_step(e);
  let_tick_become_due(e);
  echo_server_release(e);
  e->holds_messages = false;
  h2_client_send(client, s, "\0\0\0", 3, true);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
}

static void silent_connection_is_closed_after_the_handshake_timeout(void **state) {
  struct echo_server *e = *state;
  e->config.handshake_timeout_us = 50000;
  start(e, 0);
  struct h2_client *silent = echo_server_connect_raw(e);
  while (!h2_client_is_closed(silent))
    echo_server_step(e);
  echo_assert_serving(e);
}

static void half_a_header_block_is_closed_after_the_handshake_timeout(void **state) {
  struct echo_server *e = *state;
  e->config.handshake_timeout_us = 50000;
  start(e, 0);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw_preface(raw);
  h2_client_raw_frame(raw, (struct h2_frame){NGHTTP2_HEADERS, 0, 1}, "\x83",
                      1); /* :method POST, no END_HEADERS */
  while (!h2_client_is_closed(raw))
    echo_server_step(e);
  echo_assert_serving(e);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(deadline_ends_a_call_that_the_handler_holds),
      CASE(deadline_of_zero_has_passed_on_arrival),
      CASE(deadline_ends_a_stream_without_messages),
      CASE(handler_sees_the_deadline_on_the_loops_clock),
      CASE(many_deadlines_of_one_connection_pass_without_goaway),
      CASE(deadlines_of_answered_calls_are_forgotten),
      CASE(deadline_within_a_half_sent_message_resets_the_stream),
      CASE(deadline_resets_a_finished_call_whose_answer_is_not_taken),
      CASE(deadline_between_messages_sends_trailers_past_a_shut_window),
      CASE(reset_by_the_peer_cancels_the_call),
      CASE(lost_connection_cancels_its_calls),
      CASE(cancelled_before_the_message_never_runs),
      CASE(three_thousand_quick_cancels_keep_the_connection),
      CASE(handlers_that_still_run_count_against_the_stream_limit),
      CASE(half_a_request_that_stalls_is_ended),
      CASE(answer_that_nobody_takes_is_cut_off),
      CASE(answer_of_a_slow_handler_is_not_taken_for_a_stall),
      CASE(failure_of_a_slow_handler_is_not_taken_for_a_stall),
      CASE(message_after_a_long_silence_is_not_taken_for_a_stall),
      CASE(silent_connection_is_closed_after_the_handshake_timeout),
      CASE(half_a_header_block_is_closed_after_the_handshake_timeout),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
