/* How the server stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/listener.h"
#include "support/echo_server.h"

static struct h2_client *start(struct echo_server *e, uint32_t window) {
  echo_server_start(e);
  return echo_server_connect(e, window);
}

/* ---- draining ---- */

static void idle_connections_are_closed_by_a_drain(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  echo_assert_serving(e);
  int64_t before = clock_monotonic_us(&clock_system);
  echo_server_drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  /* The answer to the ping is what was waited for, not the second that others are given. */
  assert_true(clock_monotonic_us(&clock_system) - before < 900000);
  assert_true(h2_client_has_goaway(client));
  assert_int_equal(h2_client_goaway_code(client), NGHTTP2_NO_ERROR);
}

static void peer_that_does_not_answer_the_ping_gets_the_last_goaway_in_a_second(void **state) {
  struct echo_server *e = *state;
  echo_server_start(e);
  struct h2_client *raw = echo_server_connect_raw(e);
  h2_client_raw_preface(raw);
  echo_server_settle(e);
  int64_t before = clock_monotonic_us(&clock_system);
  echo_server_drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
  assert_true(clock_monotonic_us(&clock_system) - before < 3000000);
  assert_int_equal(h2_client_raw_goaways(raw, NGHTTP2_NO_ERROR), 2);
}

static void drain_without_listening_is_done_at_once(void **state) {
  struct echo_server *e = *state;
  start(e, 0);
  h2_client_free(e->clients[0]);
  e->client_count = 0;
  echo_server_drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
}

static void running_calls_end_well_during_a_drain(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  echo_server_drain(e, 15000000);
  while (h2_client_goaway_count(client) < 2)
    echo_server_step(e);
  echo_server_settle(e);
  assert_false(e->is_drained);
  assert_false(h2_client_is_closed(client));
  echo_server_answer_held(e, "done");
  echo_wait_closed(e, s);
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
  echo_server_drain(e, 15000000);
  while (!e->is_drained)
    echo_server_step(e);
  assert_int_equal(e->drains, 1);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(silent->grpc_status, GRPC_UNAVAILABLE);
}

static void drain_waits_for_handlers_whose_peer_is_gone(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  h2_client_free(client);
  e->client_count = 0;
  while (e->cancels == 0)
    echo_server_step(e);
  echo_server_drain(e, 15000000);
  for (int i = 0; i < 50; i++)
    echo_server_step(e);
  assert_false(e->is_drained);
  echo_server_answer_held(e, "nobody listens");
  while (!e->is_drained)
    echo_server_step(e);
}

static void call_cancelled_in_the_turn_of_the_drain_hears_only_of_that(void **state) {
  struct echo_server *e = *state;
  const struct h2_header soon[] = {{"grpc-timeout", "50m"}, {NULL, NULL}};
  struct h2_client *client = start(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, soon, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, false);
  while (h2_stream_message_count(s) == 0)
    echo_server_step(e);
  /* The loop stands still until the deadline has passed: both events wait when it goes on. */
  int64_t passed = clock_monotonic_us(&clock_system) + 60000;
  while (clock_monotonic_us(&clock_system) < passed)
    h2_client_wait(client);
  echo_server_drain(e, 15000000);
  echo_wait_closed(e, s);
  while (!e->is_drained)
    echo_server_step(e);
  assert_int_equal(e->cancels, 1);
  assert_int_equal(e->drains, 0);
}

static void calls_open_at_the_drain_deadline_are_cut_off(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = start(e, 0);
  e->holds_calls = true;
  echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  echo_server_drain(e, 50000);
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
  struct h2_stream *s = echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  echo_server_drain(e, 15000000);
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
  echo_wait_closed(e, s);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(idle_connections_are_closed_by_a_drain),
      CASE(peer_that_does_not_answer_the_ping_gets_the_last_goaway_in_a_second),
      CASE(drain_without_listening_is_done_at_once),
      CASE(running_calls_end_well_during_a_drain),
      CASE(streams_are_told_of_a_drain_and_end),
      CASE(drain_waits_for_handlers_whose_peer_is_gone),
      CASE(call_cancelled_in_the_turn_of_the_drain_hears_only_of_that),
      CASE(calls_open_at_the_drain_deadline_are_cut_off),
      CASE(new_connections_are_refused_during_a_drain),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
