/* The client library's connections: made, refused, left behind. */
#include "client_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- servers that go away ---- */

static void a_server_that_leaves_keeps_its_calls_and_gets_no_new_ones(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/leave", 20000);
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  int64_t began = now_ms();
  expect(w, "/fault/echo", AUDITSTORE_OK);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_true(now_ms() - began < 15000);
  assert_int_equal(fault_server_connections(w->server), 2);
  for (int i = 0; i < 100; i++)
    send_one(stream, i);
  for (int i = 0; i < 100; i++)
    assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  finish(stream, AUDITSTORE_OK);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 2);
}

struct caller {
  struct world *world;
  enum auditstore_code code;
  int64_t took_ms;
};

static void *call_echo(void *arg) {
  struct caller *caller = arg;
  const struct auditstore_call_options options = {.timeout_ms = 20000, .wait_for_ready = true};
  int64_t began = now_ms();
  caller->code = call_with(caller->world, "/fault/echo", &options, NULL);
  caller->took_ms = now_ms() - began;
  return NULL;
}

static void a_call_that_waited_its_turn_moves_to_the_new_connection(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/leave", 20000);
  struct caller caller = {.world = w};
  pthread_t thread;
  pthread_create(&thread, NULL, call_echo, &caller);
  /* Long enough for the other call to be queued behind the stream, most times. */
  assert_int_equal(receive_one(stream, 50), AUDITSTORE_STREAM_AGAIN);
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  pthread_join(thread, NULL);
  assert_int_equal(caller.code, AUDITSTORE_OK);
  assert_true(caller.took_ms < 15000);
  finish(stream, AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 2);
}

static void many_servers_leaving_one_after_another_are_survived(void **state) {
  struct world *w = *state;
  struct auditstore_stream *streams[7];
  for (int i = 0; i < 7; i++) {
    streams[i] = open_stream(w, "/fault/leave", 20000);
    send_one(streams[i], i);
    assert_int_equal(receive_one(streams[i], -1), AUDITSTORE_STREAM_OK);
  }
  expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(fault_server_connections(w->server), 8);
  for (int i = 0; i < 7; i++) {
    send_one(streams[i], i);
    assert_int_equal(receive_one(streams[i], -1), AUDITSTORE_STREAM_OK);
    finish(streams[i], AUDITSTORE_OK);
  }
}

static void above_the_most_connections_a_call_waits_for_one_to_end(void **state) {
  struct world *w = *state;
  struct auditstore_stream *streams[8];
  for (int i = 0; i < 8; i++) {
    streams[i] = open_stream(w, "/fault/leave", 20000);
    send_one(streams[i], i);
    assert_int_equal(receive_one(streams[i], -1), AUDITSTORE_STREAM_OK);
  }
  struct auditstore_status status = {0};
  assert_int_equal(call(w, "/fault/echo", 50, &status), AUDITSTORE_DEADLINE_EXCEEDED);
  auditstore_status_deinit(&status);
  finish(streams[3], AUDITSTORE_OK);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  for (int i = 0; i < 8; i++)
    if (i != 3)
      finish(streams[i], AUDITSTORE_OK);
}

static void a_stream_whose_connection_is_lost_ends_unavailable(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  fault_server_drop_connections(w->server);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  struct auditstore_status status = {0};
  assert_int_equal(auditstore_stream_finish(stream, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "connection lost"));
  assert_non_null(strstr(status.message, fault_server_target(w->server)));
  auditstore_status_deinit(&status);
}

static void an_end_noticed_while_writing_is_noticed_at_once(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
  int64_t began = now_ms();
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  fault_server_drop_connections(w->server);
  /* The first write after the server's end still passes, the half-close behind it doesn't. */
  send_one(stream, 2);
  finish(stream, AUDITSTORE_UNAVAILABLE);
  assert_true(now_ms() - began < 15000);
}

static void *receive_end(void *arg) {
  while (receive_one(arg, -1) == AUDITSTORE_STREAM_OK) {
  }
  return NULL;
}

static void a_connection_may_be_lost_while_another_thread_polls_it(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 100; i++) {
    struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
    pthread_t thread;
    send_one(stream, 1);
    pthread_create(&thread, NULL, receive_end, stream);
    expect(w, "/fault/echo", AUDITSTORE_OK);
    /* Whichever thread notices first: the one in its poll, or the one that begins a call. */
    fault_server_drop_connections(w->server);
    call(w, "/fault/echo", 20000, NULL);
    pthread_join(thread, NULL);
    finish(stream, AUDITSTORE_UNAVAILABLE);
  }
}

struct receiver {
  struct auditstore_stream *stream;
  atomic_int received;
};

static void *receive_all(void *arg) {
  struct receiver *r = arg;
  while (receive_one(r->stream, -1) == AUDITSTORE_STREAM_OK)
    r->received++;
  return NULL;
}

static void a_message_that_another_thread_read_reaches_its_receiver(void **state) {
  struct world *w = *state;
  struct receiver r = {.stream = open_stream(w, "/fault/echo", 20000)};
  pthread_t thread;
  pthread_create(&thread, NULL, receive_all, &r);
  int64_t limit = now_ms() + 15000;
  for (int i = 1; i <= 2000; i++) {
    send_one(r.stream, i);
    /* Reads what is there, faster than the thread in its poll at times. */
    while (r.received < i && now_ms() < limit)
      auditstore_channel_state(w->channel, false);
  }
  assert_int_equal(r.received, 2000);
  auditstore_stream_half_close(r.stream);
  pthread_join(thread, NULL);
  finish(r.stream, AUDITSTORE_OK);
}

/* ---- full sockets ---- */

#define LARGE_BYTES ((size_t)1024 * 1024)

/* Far more than sockets hold, to a server that says nothing while it takes it. */
static void send_much(struct auditstore_stream *stream) {
  char *data = calloc(1, LARGE_BYTES + 1);
  memset(data, 'x', LARGE_BYTES);
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  struct message m;
  message_init(&m, 0);
  event.event_data = data;
  m.stored.event = &event;
  for (int i = 0; i < 24; i++)
    assert_int_equal(auditstore_stream_send(stream, &m.response.base, -1), AUDITSTORE_STREAM_OK);
  auditstore_stream_half_close(stream);
  free(data);
}

static int setup_wide(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  w->server = fault_server_bind(100);
  fault_server_widen(w->server);
  fault_server_listen(w->server);
  fault_server_serve(w->server);
  w->channel = auditstore_channel_new(fault_server_target(w->server), NULL, NULL);
  *state = w;
  return 0;
}

static void what_a_socket_did_not_take_is_written_later(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/none", 60000);
  send_much(stream);
  finish(stream, AUDITSTORE_OK);
}

static void what_one_thread_could_not_write_is_written_by_the_one_that_polls(void **state) {
  struct auditstore_stream *stream = open_stream(*state, "/fault/none", 60000);
  pthread_t thread;
  pthread_create(&thread, NULL, receive_end, stream);
  send_much(stream);
  pthread_join(thread, NULL);
  finish(stream, AUDITSTORE_OK);
}

/* ---- servers that aren't there ---- */

static struct world channel_to(struct fault_server *server, int connect_timeout_ms) {
  const struct auditstore_channel_options options = {.connect_timeout_ms = connect_timeout_ms};
  return (struct world){server,
                        auditstore_channel_new(fault_server_target(server), &options, NULL)};
}

static void a_server_that_says_nothing_is_given_up(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_bind(1), 100);
  fault_server_listen(w.server);
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "the server's settings didn't come in time"));
  auditstore_status_deinit(&status);
  world_close(&w);
}

static void a_server_that_hangs_up_is_unavailable(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_start(0), 20000);
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "the connection ended before the server's settings"));
  auditstore_status_deinit(&status);
  world_close(&w);
}

static void the_deadline_counts_while_connecting_too(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_bind(1), 20000);
  fault_server_listen(w.server);
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 100, &status), AUDITSTORE_DEADLINE_EXCEEDED);
  assert_non_null(strstr(status.message, "deadline passed before the call began"));
  auditstore_status_deinit(&status);
  world_close(&w);
}

static void wait_for_ready_calls_begin_once_the_server_is_there(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_bind(100), 100);
  struct caller caller = {.world = &w};
  pthread_t thread;
  expect(&w, "/fault/echo", AUDITSTORE_UNAVAILABLE);
  pthread_create(&thread, NULL, call_echo, &caller);
  /* Refused, then silent, then there. */
  expect(&w, "/fault/echo", AUDITSTORE_UNAVAILABLE);
  fault_server_listen(w.server);
  expect(&w, "/fault/echo", AUDITSTORE_UNAVAILABLE);
  fault_server_serve(w.server);
  pthread_join(thread, NULL);
  assert_int_equal(caller.code, AUDITSTORE_OK);
  world_close(&w);
}

static void *call_in_vain(void *arg) {
  struct caller *caller = arg;
  int64_t began = now_ms();
  caller->code = call(caller->world, "/fault/echo", 60000, NULL);
  caller->took_ms = now_ms() - began;
  return NULL;
}

static void *give_up_then_serve(void *arg) {
  struct caller *caller = arg;
  caller->code = call(caller->world, "/fault/echo", 300, NULL);
  fault_server_serve(caller->world->server);
  return NULL;
}

static void one_thread_s_short_deadline_is_no_failure_for_another(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_bind(100), 20000);
  struct world other = {w.server,
                        auditstore_channel_new(fault_server_target(w.server), NULL, NULL)};
  struct caller hasty = {.world = &w};
  pthread_t thread;
  fault_server_listen(w.server);
  pthread_create(&thread, NULL, give_up_then_serve, &hasty);
  /* Long enough for the hasty one to be the one that connects, most times. */
  assert_int_equal(call(&other, "/fault/echo", 50, NULL), AUDITSTORE_DEADLINE_EXCEEDED);
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  pthread_join(thread, NULL);
  assert_int_equal(hasty.code, AUDITSTORE_DEADLINE_EXCEEDED);
  auditstore_channel_free(other.channel);
  world_close(&w);
}

#define IN_VAIN 6

static void threads_that_wait_for_one_attempt_share_its_failure(void **state) {
  (void)state;
  struct world w = channel_to(fault_server_bind(1), 1000);
  fault_server_listen(w.server);
  struct caller callers[IN_VAIN];
  pthread_t threads[IN_VAIN];
  for (int i = 0; i < IN_VAIN; i++) {
    callers[i] = (struct caller){.world = &w};
    pthread_create(&threads[i], NULL, call_in_vain, &callers[i]);
  }
  for (int i = 0; i < IN_VAIN; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(callers[i].code, AUDITSTORE_UNAVAILABLE);
    assert_true(callers[i].took_ms < (IN_VAIN - 1) * 1000);
  }
  world_close(&w);
}

static void a_name_that_does_not_resolve_is_unavailable(void **state) {
  (void)state;
  struct world w = {.channel = auditstore_channel_new("no-such-host.invalid:1", NULL, NULL)};
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "can't resolve no-such-host.invalid"));
  auditstore_status_deinit(&status);
  auditstore_channel_free(w.channel);
}

static void a_channel_freed_with_a_call_cancelled_leaves_nothing(void **state) {
  struct world *w = *state;
  struct world other = {w->server,
                        auditstore_channel_new(fault_server_target(w->server), NULL, NULL)};
  struct auditstore_stream *stream = open_stream(&other, "/fault/silent", 20000);
  auditstore_stream_cancel(stream);
  finish(stream, AUDITSTORE_CANCELLED);
  auditstore_channel_free(other.channel);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_server_that_leaves_keeps_its_calls_and_gets_no_new_ones),
      cmocka_unit_test_setup_teardown(a_call_that_waited_its_turn_moves_to_the_new_connection,
                                      setup_with_one_stream, teardown),
      TEST(many_servers_leaving_one_after_another_are_survived),
      TEST(above_the_most_connections_a_call_waits_for_one_to_end),
      TEST(a_stream_whose_connection_is_lost_ends_unavailable),
      TEST(an_end_noticed_while_writing_is_noticed_at_once),
      TEST(a_connection_may_be_lost_while_another_thread_polls_it),
      TEST(a_message_that_another_thread_read_reaches_its_receiver),
      cmocka_unit_test_setup_teardown(what_a_socket_did_not_take_is_written_later, setup_wide,
                                      teardown),
      cmocka_unit_test_setup_teardown(
          what_one_thread_could_not_write_is_written_by_the_one_that_polls, setup_wide, teardown),
      cmocka_unit_test(a_server_that_says_nothing_is_given_up),
      cmocka_unit_test(a_server_that_hangs_up_is_unavailable),
      cmocka_unit_test(the_deadline_counts_while_connecting_too),
      cmocka_unit_test(wait_for_ready_calls_begin_once_the_server_is_there),
      cmocka_unit_test(threads_that_wait_for_one_attempt_share_its_failure),
      cmocka_unit_test(one_thread_s_short_deadline_is_no_failure_for_another),
      cmocka_unit_test(a_name_that_does_not_resolve_is_unavailable),
      TEST(a_channel_freed_with_a_call_cancelled_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
