/* A channel's states, its pauses between attempts, its pings. */
#include "client_fixture.h"

#include <poll.h>
#include <pthread.h>

#define MAX_SEEN 64

struct seen {
  enum auditstore_channel_state states[MAX_SEEN];
  int count;
};

static void note(void *arg, enum auditstore_channel_state state) {
  struct seen *seen = arg;
  if (seen->count < MAX_SEEN)
    seen->states[seen->count++] = state;
}

static struct world noted_world(struct fault_server *server, struct seen *seen,
                                struct auditstore_channel_options options) {
  *seen = (struct seen){.count = 0};
  options.on_state = note;
  options.on_state_arg = seen;
  return world_with(server, &options);
}

static void expect_seen(const struct seen *seen, const char *expected) {
  char text[1024] = "";
  for (int i = 0; i < seen->count; i++) {
    strncat(text, auditstore_channel_state_name(seen->states[i]), 30);
    strncat(text, " ", 2);
  }
  assert_string_equal(text, expected);
}

static const struct auditstore_channel_options fast = {
    .backoff = {.initial_ms = 1, .max_ms = 20, .multiplier = 2}};

/* ---- states ---- */

static void a_channel_goes_from_idle_to_ready_and_back(void **state) {
  (void)state;
  struct seen seen;
  struct world w = noted_world(fault_server_start(100), &seen, fast);
  assert_int_equal(auditstore_channel_state(w.channel, false), AUDITSTORE_CHANNEL_IDLE);
  assert_int_equal(auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_READY, 20000, NULL),
                   AUDITSTORE_OK);
  expect_seen(&seen, "CONNECTING READY ");
  assert_int_equal(auditstore_channel_state(w.channel, false), AUDITSTORE_CHANNEL_READY);
  fault_server_drop_connections(w.server);
  assert_int_equal(auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_IDLE, 20000, NULL),
                   AUDITSTORE_OK);
  expect_seen(&seen, "CONNECTING READY IDLE ");
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  auditstore_channel_shutdown(w.channel);
  expect_seen(&seen, "CONNECTING READY IDLE CONNECTING READY SHUTDOWN ");
  assert_int_equal(auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_READY, 20000, NULL),
                   AUDITSTORE_UNAVAILABLE);
  world_close(&w);
}

static void asking_for_the_state_connects_when_told_to(void **state) {
  struct world *w = *state;
  assert_int_equal(auditstore_channel_state(w->channel, false), AUDITSTORE_CHANNEL_IDLE);
  int64_t limit = now_ms() + 20000;
  while (auditstore_channel_state(w->channel, true) != AUDITSTORE_CHANNEL_READY)
    assert_true(now_ms() < limit);
  assert_int_equal(fault_server_connections(w->server), 1);
}

static void a_failure_is_a_state_until_the_pause_is_over(void **state) {
  (void)state;
  struct seen seen;
  struct auditstore_channel_options slow = {.backoff = {.initial_ms = 100000}};
  struct world w = noted_world(fault_server_bind(100), &seen, slow);
  struct auditstore_status status = {0};
  assert_int_equal(
      auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_TRANSIENT_FAILURE, 20000, NULL),
      AUDITSTORE_OK);
  expect_seen(&seen, "CONNECTING TRANSIENT_FAILURE ");
  /* Calls fail by it at once, without asking the server; who waits for better times waits. */
  fault_server_listen(w.server);
  fault_server_serve(w.server);
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "Connection refused"));
  const struct auditstore_call_options patient = {.timeout_ms = 50, .wait_for_ready = true};
  assert_int_equal(call_with(&w, "/fault/echo", &patient, &status), AUDITSTORE_DEADLINE_EXCEEDED);
  assert_non_null(strstr(status.message, "Connection refused"));
  assert_int_equal(auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_READY, 50, &status),
                   AUDITSTORE_DEADLINE_EXCEEDED);
  assert_non_null(strstr(status.message, "TRANSIENT_FAILURE: can't connect"));
  assert_int_equal(fault_server_connections(w.server), 0);
  expect_seen(&seen, "CONNECTING TRANSIENT_FAILURE ");
  auditstore_status_deinit(&status);
  world_close(&w);
}

static void after_the_pause_it_tries_again(void **state) {
  (void)state;
  struct seen seen;
  struct world w = noted_world(fault_server_bind(100), &seen, fast);
  const struct auditstore_call_options patient = {.timeout_ms = 100, .wait_for_ready = true};
  assert_int_equal(call_with(&w, "/fault/echo", &patient, NULL), AUDITSTORE_DEADLINE_EXCEEDED);
  assert_true(seen.count >= 4);
  for (int i = 0; i < seen.count; i++)
    assert_int_equal(seen.states[i],
                     i % 2 ? AUDITSTORE_CHANNEL_TRANSIENT_FAILURE : AUDITSTORE_CHANNEL_CONNECTING);
  fault_server_listen(w.server);
  fault_server_serve(w.server);
  assert_int_equal(auditstore_channel_wait(w.channel, AUDITSTORE_CHANNEL_READY, 20000, NULL),
                   AUDITSTORE_OK);
  world_close(&w);
}

static void call_from_inside(void *arg, enum auditstore_channel_state state) {
  struct auditstore_channel **channel = arg;
  (void)state;
  if (*channel)
    auditstore_channel_state(*channel, false);
}

static void the_callback_may_use_the_channel(void **state) {
  (void)state;
  struct auditstore_channel *channel = NULL;
  const struct auditstore_channel_options options = {.on_state = call_from_inside,
                                                     .on_state_arg = &channel};
  struct world w = world_with(fault_server_start(100), &options);
  channel = w.channel;
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  channel = NULL;
  world_close(&w);
}

static void states_have_names(void **state) {
  (void)state;
  assert_string_equal(auditstore_channel_state_name(AUDITSTORE_CHANNEL_READY), "READY");
  assert_string_equal(auditstore_channel_state_name((enum auditstore_channel_state)9), "UNKNOWN");
}

/* ---- pauses ---- */

static void connections_that_are_dropped_unused_count_as_failures(void **state) {
  (void)state;
  struct seen seen;
  const struct auditstore_retry_policy once = {.max_attempts = 1};
  const struct auditstore_call_options options = {.timeout_ms = 20000, .retry = &once};
  struct auditstore_channel_options slow = {.backoff = {.initial_ms = 100000}};
  struct world w = noted_world(fault_server_start(100), &seen, slow);
  struct auditstore_status status = {0};
  /* One that was used isn't of them. */
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  fault_server_drop_connections(w.server);
  for (int i = 0; i < 4; i++)
    assert_int_equal(call_with(&w, "/fault/close", &options, NULL), AUDITSTORE_UNAVAILABLE);
  assert_int_equal(fault_server_connections(w.server), 5);
  assert_int_equal(call_with(&w, "/fault/close", &options, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "4 connections in a row ended"));
  assert_int_equal(fault_server_connections(w.server), 5);
  assert_int_equal(seen.states[seen.count - 1], AUDITSTORE_CHANNEL_TRANSIENT_FAILURE);
  auditstore_status_deinit(&status);
  world_close(&w);
}

/* ---- pings ---- */

static void a_server_that_falls_silent_is_given_up(void **state) {
  (void)state;
  /* The least time, after which a ping goes out. */
  const struct auditstore_channel_options options = {.keepalive_time_ms = 1,
                                                     .keepalive_timeout_ms = 100};
  struct world w = world_with(fault_server_start(100), &options);
  struct auditstore_status status = {0};
  struct auditstore_stream *silent = open_stream(&w, "/fault/silent", 60000);
  /* A ping is answered by a server that has nothing else to say. */
  assert_int_equal(receive_one(silent, 10500), AUDITSTORE_STREAM_AGAIN);
  struct auditstore_stream *mute = open_stream(&w, "/fault/mute", 60000);
  int64_t began = now_ms();
  assert_int_equal(receive_one(mute, -1), AUDITSTORE_STREAM_END);
  assert_true(now_ms() - began >= 8000);
  assert_int_equal(auditstore_stream_finish(mute, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "no answer to a ping within 100 ms"));
  finish(silent, AUDITSTORE_UNAVAILABLE);
  auditstore_status_deinit(&status);
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  world_close(&w);
}

/* Goes on until the answer to a ping lies in the socket. */
static void leave_an_answer_unread(struct world *w) {
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  int64_t limit = now_ms() + 30000;
  do {
    auditstore_channel_dispatch(w->channel);
    assert_true(poll(&pfd, 1, 30000) > 0);
    assert_true(now_ms() < limit);
  } while (fault_server_pings(w->server) == 0);
}

static void an_answer_to_a_ping_counts_that_nobody_has_read_yet(void **state) {
  (void)state;
  const struct auditstore_channel_options options = {.keepalive_time_ms = 1,
                                                     .keepalive_timeout_ms = 1000};
  struct world w = world_with(fault_server_start(100), &options);
  struct auditstore_stream *silent = open_stream(&w, "/fault/silent", 60000);
  leave_an_answer_unread(&w);
  for (int64_t limit = now_ms() + 1001; now_ms() < limit;)
    poll(NULL, 0, (int)(limit - now_ms()));
  assert_int_equal(receive_one(silent, 0), AUDITSTORE_STREAM_AGAIN);
  auditstore_stream_cancel(silent);
  finish(silent, AUDITSTORE_CANCELLED);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_channel_goes_from_idle_to_ready_and_back),
      TEST(asking_for_the_state_connects_when_told_to),
      cmocka_unit_test(a_failure_is_a_state_until_the_pause_is_over),
      cmocka_unit_test(after_the_pause_it_tries_again),
      cmocka_unit_test(the_callback_may_use_the_channel),
      cmocka_unit_test(states_have_names),
      cmocka_unit_test(connections_that_are_dropped_unused_count_as_failures),
      cmocka_unit_test(a_server_that_falls_silent_is_given_up),
      cmocka_unit_test(an_answer_to_a_ping_counts_that_nobody_has_read_yet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
