/* The client library against a server that misbehaves. */
#include "client_fixture.h"

#include <pthread.h>

static void a_good_answer_is_given(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100; i++)
    expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 1);
}

static void collect_violation(void *arg, const char *field, const char *description) {
  char *text = arg;
  snprintf(text, 100, "%s: %s", field, description);
}

static void an_error_brings_message_details_and_trailers(void **state) {
  struct auditstore_status status = {0};
  char text[100] = "";
  assert_int_equal(call(*state, "/fault/error", 20000, &status), AUDITSTORE_INVALID_ARGUMENT);
  assert_string_equal(status.message, "not \xe2\x98\xba good\n");
  assert_int_equal(auditstore_status_violations(&status, collect_violation, text), 1);
  assert_string_equal(text, "events[0].actor.id: too long");
  assert_int_equal(auditstore_status_retry_delay_ms(&status), -1);
  assert_int_equal(status.trailer_count, 1);
  assert_string_equal(status.trailers[0].key, "x-trailer-bin");
  assert_int_equal(status.trailers[0].value_len, 3);
  assert_memory_equal(status.trailers[0].value, "\1\2\3", 3);
  auditstore_status_deinit(&status);
}

static void each_fault_ends_in_its_code(void **state) {
  expect(*state, "/fault/reset", AUDITSTORE_INTERNAL);
  expect(*state, "/fault/no_trailers", AUDITSTORE_UNKNOWN);
  expect(*state, "/fault/html", AUDITSTORE_UNAVAILABLE);
  expect(*state, "/fault/oversize", AUDITSTORE_RESOURCE_EXHAUSTED);
  expect(*state, "/fault/truncated", AUDITSTORE_INTERNAL);
  expect(*state, "/fault/compressed", AUDITSTORE_INTERNAL);
  expect(*state, "/fault/garbage", AUDITSTORE_INTERNAL);
  expect(*state, "/fault/close", AUDITSTORE_UNAVAILABLE);
  expect(*state, "/fault/echo", AUDITSTORE_OK);
}

static void an_answer_in_single_bytes_is_put_together(void **state) {
  expect(*state, "/fault/drip", AUDITSTORE_OK);
}

static void a_refused_call_is_made_again(void **state) {
  expect(*state, "/fault/refused_once", AUDITSTORE_OK);
}

static void a_call_above_goaway_is_made_again_on_a_new_connection(void **state) {
  struct world *w = *state;
  expect(w, "/fault/goaway_once", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 2);
}

static void a_silent_server_is_left_at_the_deadline(void **state) {
  struct auditstore_status status = {0};
  int64_t began = now_ms();
  assert_int_equal(call(*state, "/fault/silent", 200, &status), AUDITSTORE_DEADLINE_EXCEEDED);
  assert_true(now_ms() - began >= 199);
  auditstore_status_deinit(&status);
  expect(*state, "/fault/echo", AUDITSTORE_OK);
}

static void nobody_there_is_unavailable_at_once_or_at_the_deadline(void **state) {
  struct world *w = *state;
  struct fault_server *gone = fault_server_start(1);
  struct world other = {.channel = auditstore_channel_new(fault_server_target(gone), NULL, NULL)};
  fault_server_stop(gone);
  expect(&other, "/fault/echo", AUDITSTORE_UNAVAILABLE);
  const struct auditstore_method method = method_of("/fault/echo");
  const struct auditstore_call_options options = {.timeout_ms = 300, .wait_for_ready = true};
  struct auditstore_status status = {0};
  assert_null(auditstore_stream_open(other.channel, &method, &options, &status));
  assert_int_equal(status.code, AUDITSTORE_DEADLINE_EXCEEDED);
  assert_non_null(strstr(status.message, "can't connect"));
  auditstore_status_deinit(&status);
  auditstore_channel_free(other.channel);
  (void)w;
}

static void a_lost_connection_is_made_anew_by_the_next_call(void **state) {
  struct world *w = *state;
  expect(w, "/fault/echo", AUDITSTORE_OK);
  /* Three attempts, each of which ends its connection. */
  expect(w, "/fault/close", AUDITSTORE_UNAVAILABLE);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 4);
}

static void a_connection_closed_while_nobody_looked_is_made_anew(void **state) {
  struct world *w = *state;
  expect(w, "/fault/echo", AUDITSTORE_OK);
  fault_server_drop_connections(w->server);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 2);
}

/* ---- streams ---- */

static void a_stream_echoes_in_order_until_half_closed(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/echo", 20000);
  struct message m;
  ProtobufCMessage *answer = NULL;
  for (int i = 0; i < 1000; i++)
    assert_int_equal(auditstore_stream_send(stream, message_init(&m, i), -1), AUDITSTORE_STREAM_OK);
  auditstore_stream_half_close(stream);
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_OK);
    assert_int_equal(sequence_of(answer), i);
    protobuf_c_message_free_unpacked(answer, NULL);
  }
  assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_END);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
}

static void a_receive_may_time_out_and_go_on(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/echo", 20000);
  ProtobufCMessage *answer = NULL;
  struct message m;
  assert_int_equal(auditstore_stream_recv(stream, &answer, 0), AUDITSTORE_STREAM_AGAIN);
  assert_int_equal(auditstore_stream_recv(stream, &answer, 20), AUDITSTORE_STREAM_AGAIN);
  assert_int_equal(auditstore_stream_send(stream, message_init(&m, 3), -1), AUDITSTORE_STREAM_OK);
  assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_OK);
  protobuf_c_message_free_unpacked(answer, NULL);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
}

static void sends_block_when_the_server_takes_nothing(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/stall", 20000);
  char *data = calloc(1, 100001);
  memset(data, 'x', 100000);
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  struct message m;
  message_init(&m, 0);
  event.event_data = data;
  m.stored.event = &event;
  int sent = 0;
  while (auditstore_stream_send(stream, &m.response.base, 0) == AUDITSTORE_STREAM_OK) {
    sent++;
    assert_true(sent < 20);
  }
  assert_true(sent >= 10);
  assert_int_equal(auditstore_stream_send(stream, &m.response.base, 20), AUDITSTORE_STREAM_AGAIN);
  auditstore_stream_cancel(stream);
  assert_int_equal(auditstore_stream_send(stream, &m.response.base, -1), AUDITSTORE_STREAM_END);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_CANCELLED);
  free(data);
}

#define FLOOD_MESSAGES 768 /* together more than the connection's window */

static void a_message_larger_than_the_window_passes_both_ways(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/echo", 20000);
  const size_t size = 3 * 1024 * 1024;
  char *data = calloc(1, size + 1);
  memset(data, 'x', size);
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  struct message m;
  ProtobufCMessage *answer = NULL;
  message_init(&m, 0);
  event.event_data = data;
  m.stored.event = &event;
  assert_int_equal(auditstore_stream_send(stream, &m.response.base, -1), AUDITSTORE_STREAM_OK);
  assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_OK);
  const Auditstore__V1__GetEventResponse *back = (Auditstore__V1__GetEventResponse *)answer;
  assert_int_equal(strlen(back->event->event->event_data), size);
  protobuf_c_message_free_unpacked(answer, NULL);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
  free(data);
}

static void a_stream_cut_within_a_message_is_not_ok(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/truncated", 20000);
  ProtobufCMessage *answer = NULL;
  auditstore_stream_half_close(stream);
  assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_END);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_INTERNAL);
}

static void more_than_the_window_arrives_at_a_slow_reader(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/flood", 60000);
  auditstore_stream_half_close(stream);
  /* Other calls read what comes for the stream as well: until its window is closed. */
  for (int i = 0; i < 50; i++)
    expect(*state, "/fault/echo", AUDITSTORE_OK);
  ProtobufCMessage *answer = NULL;
  int count = 0;
  while (auditstore_stream_recv(stream, &answer, -1) == AUDITSTORE_STREAM_OK) {
    protobuf_c_message_free_unpacked(answer, NULL);
    count++;
  }
  assert_int_equal(count, FLOOD_MESSAGES);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
}

static void finishing_drops_what_was_not_read(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/flood", 60000);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
}

static void *cancel_soon(void *arg) {
  auditstore_stream_cancel(arg);
  return NULL;
}

static void another_thread_may_cancel(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/silent", 20000);
  pthread_t thread;
  ProtobufCMessage *answer = NULL;
  /* Long enough in a receive to be in its poll, most times. */
  assert_int_equal(auditstore_stream_recv(stream, &answer, 20), AUDITSTORE_STREAM_AGAIN);
  int64_t began = now_ms();
  pthread_create(&thread, NULL, cancel_soon, stream);
  assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_END);
  pthread_join(thread, NULL);
  /* Woken by the cancel, not by the deadline. */
  assert_true(now_ms() - began < 15000);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_CANCELLED);
}

#define THREAD_MESSAGES 5000

static void *send_many(void *arg) {
  struct message m;
  for (int i = 0; i < THREAD_MESSAGES; i++)
    if (auditstore_stream_send(arg, message_init(&m, i), -1) != AUDITSTORE_STREAM_OK)
      break;
  auditstore_stream_half_close(arg);
  return NULL;
}

static void one_thread_sends_while_another_receives(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/echo", 60000);
  pthread_t thread;
  ProtobufCMessage *answer = NULL;
  pthread_create(&thread, NULL, send_many, stream);
  int64_t count = 0;
  while (auditstore_stream_recv(stream, &answer, -1) == AUDITSTORE_STREAM_OK) {
    assert_int_equal(sequence_of(answer), count++);
    protobuf_c_message_free_unpacked(answer, NULL);
  }
  pthread_join(thread, NULL);
  assert_int_equal(count, THREAD_MESSAGES);
  assert_int_equal(auditstore_stream_finish(stream, NULL), AUDITSTORE_OK);
}

static void *call_many(void *arg) {
  struct world *w = arg;
  const struct auditstore_method method = method_of("/fault/echo");
  struct message m;
  const struct auditstore_unary unary = {&method, message_init(&m, 7), NULL};
  size_t good = 0;
  for (int i = 0; i < 200; i++) {
    ProtobufCMessage *response = NULL;
    good += auditstore_call_unary(w->channel, &unary, &response, NULL) == AUDITSTORE_OK;
    protobuf_c_message_free_unpacked(response, NULL);
  }
  return (void *)good;
}

static void run_threads(struct world *w) {
  pthread_t threads[8];
  for (int i = 0; i < 8; i++)
    pthread_create(&threads[i], NULL, call_many, w);
  for (int i = 0; i < 8; i++) {
    void *good = NULL;
    pthread_join(threads[i], &good);
    assert_int_equal((size_t)good, 200);
  }
}

static void many_threads_share_one_connection(void **state) {
  struct world *w = *state;
  run_threads(w);
  assert_int_equal(fault_server_connections(w->server), 1);
}

static void calls_above_the_server_s_limit_wait_their_turn(void **state) {
  (void)state;
  struct world w = {.server = fault_server_start(1)};
  w.channel = auditstore_channel_new(fault_server_target(w.server), NULL, NULL);
  run_threads(&w);
  auditstore_channel_free(w.channel);
  fault_server_stop(w.server);
}

/* ---- arguments ---- */

static void targets_that_make_no_sense_are_refused(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",       "host",       ":1",    "host:", "host:abc", "host:123456", "::1:80",
      "host:0", "host:65536", "[]:80", "[::1]", "a b:80",   "a/b:80",      "[::1]x:80"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_null(auditstore_channel_new(bad[i], NULL, NULL));
  struct auditstore_channel *channel = auditstore_channel_new("[::1]:80", NULL, NULL);
  assert_non_null(channel);
  auditstore_channel_free(channel);
  auditstore_channel_free(NULL);
}

static void metadata_is_checked(void **state) {
  struct world *w = *state;
  static const struct auditstore_metadata bad[] = {{"Upper", "x", 1},
                                                   {"grpc-status", "0", 1},
                                                   {"a key", "x", 1},
                                                   {"text", "a\nb", 3},
                                                   {"", "x", 1}};
  const struct auditstore_method method = method_of("/fault/echo");
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    const struct auditstore_call_options options = {.metadata = &bad[i], .metadata_count = 1};
    struct auditstore_status status = {0};
    assert_null(auditstore_stream_open(w->channel, &method, &options, &status));
    assert_int_equal(status.code, AUDITSTORE_INVALID_ARGUMENT);
    auditstore_status_deinit(&status);
  }
  static const struct auditstore_metadata good[] = {{"x-request", "abc", 3},
                                                    {"x-raw-bin", "\0\1\2", 3}};
  const struct auditstore_call_options options = {.metadata = good, .metadata_count = 2};
  struct message m;
  const struct auditstore_unary unary = {&method, message_init(&m, 1), &options};
  ProtobufCMessage *response = NULL;
  assert_int_equal(auditstore_call_unary(w->channel, &unary, &response, NULL), AUDITSTORE_OK);
  protobuf_c_message_free_unpacked(response, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_good_answer_is_given),
      TEST(an_error_brings_message_details_and_trailers),
      TEST(each_fault_ends_in_its_code),
      TEST(an_answer_in_single_bytes_is_put_together),
      TEST(a_refused_call_is_made_again),
      TEST(a_call_above_goaway_is_made_again_on_a_new_connection),
      TEST(a_silent_server_is_left_at_the_deadline),
      TEST(nobody_there_is_unavailable_at_once_or_at_the_deadline),
      TEST(a_lost_connection_is_made_anew_by_the_next_call),
      TEST(a_connection_closed_while_nobody_looked_is_made_anew),
      TEST(a_stream_echoes_in_order_until_half_closed),
      TEST(a_message_larger_than_the_window_passes_both_ways),
      TEST(a_stream_cut_within_a_message_is_not_ok),
      TEST(a_receive_may_time_out_and_go_on),
      TEST(sends_block_when_the_server_takes_nothing),
      TEST(more_than_the_window_arrives_at_a_slow_reader),
      TEST(finishing_drops_what_was_not_read),
      TEST(another_thread_may_cancel),
      TEST(one_thread_sends_while_another_receives),
      TEST(many_threads_share_one_connection),
      cmocka_unit_test(calls_above_the_server_s_limit_wait_their_turn),
      cmocka_unit_test(targets_that_make_no_sense_are_refused),
      TEST(metadata_is_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
