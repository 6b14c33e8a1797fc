/* Calls that are cancelled, from other threads too. */
#include "client_fixture.h"

#include <pthread.h>

struct canceller {
  struct world *world;
  struct auditstore_cancellation *cancellation;
  int wanted; /* requests that must have come first */
};

/* Once the server has seen the calls. */
static void *cancel_when_there(void *arg) {
  const struct canceller *c = arg;
  while (fault_server_requests(c->world->server) < c->wanted)
    sched_yield();
  auditstore_cancellation_cancel(c->cancellation);
  return NULL;
}

static void a_unary_call_is_cancelled_by_another_thread(void **state) {
  struct world *w = *state;
  struct canceller c = {w, auditstore_cancellation_new(), 1};
  const struct auditstore_call_options options = {.timeout_ms = 60000,
                                                  .cancellation = c.cancellation};
  struct auditstore_status status = {0};
  pthread_t thread;
  pthread_create(&thread, NULL, cancel_when_there, &c);
  assert_int_equal(call_with(w, "/fault/silent", &options, &status), AUDITSTORE_CANCELLED);
  assert_string_equal(status.message, "cancelled by the caller");
  auditstore_status_deinit(&status);
  pthread_join(thread, NULL);
  /* Those that get it later end at once, without the server. */
  assert_int_equal(call_with(w, "/fault/echo", &options, NULL), AUDITSTORE_CANCELLED);
  const struct auditstore_method method = method_of("/fault/echo");
  assert_null(auditstore_stream_open(w->channel, &method, &options, &status));
  assert_int_equal(status.code, AUDITSTORE_CANCELLED);
  auditstore_status_deinit(&status);
  assert_int_equal(fault_server_requests(w->server), 1);
  auditstore_cancellation_free(c.cancellation);
  expect(w, "/fault/echo", AUDITSTORE_OK);
}

static void a_call_that_waits_for_a_connection_is_cancelled(void **state) {
  (void)state;
  struct world w = world_with(fault_server_bind(1), NULL);
  struct canceller c = {&w, auditstore_cancellation_new(), 0};
  const struct auditstore_call_options options = {
      .timeout_ms = 60000, .wait_for_ready = true, .cancellation = c.cancellation};
  pthread_t thread;
  pthread_create(&thread, NULL, cancel_when_there, &c);
  assert_int_equal(call_with(&w, "/fault/echo", &options, NULL), AUDITSTORE_CANCELLED);
  pthread_join(thread, NULL);
  auditstore_cancellation_free(c.cancellation);
  world_close(&w);
}

static void a_stream_is_cancelled_with_a_call_of_another_channel(void **state) {
  struct world *w = *state;
  struct world other = {w->server,
                        auditstore_channel_new(fault_server_target(w->server), NULL, NULL)};
  struct canceller c = {w, auditstore_cancellation_new(), 2};
  const struct auditstore_method method = method_of("/fault/silent");
  const struct auditstore_call_options options = {.timeout_ms = 60000,
                                                  .cancellation = c.cancellation};
  struct auditstore_stream *stream = auditstore_stream_open(w->channel, &method, &options, NULL);
  assert_non_null(stream);
  pthread_t thread;
  pthread_create(&thread, NULL, cancel_when_there, &c);
  assert_int_equal(call_with(&other, "/fault/silent", &options, NULL), AUDITSTORE_CANCELLED);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  finish(stream, AUDITSTORE_CANCELLED);
  pthread_join(thread, NULL);
  auditstore_cancellation_free(c.cancellation);
  auditstore_channel_free(other.channel);
}

static void on_done(void *arg, ProtobufCMessage *response, const struct auditstore_status *status) {
  assert_null(response);
  *(enum auditstore_code *)arg = status->code;
}

static void a_started_call_is_cancelled(void **state) {
  struct world *w = *state;
  struct auditstore_cancellation *cancellation = auditstore_cancellation_new();
  const struct auditstore_call_options options = {.cancellation = cancellation};
  const struct auditstore_method method = method_of("/fault/silent");
  struct message m;
  const struct auditstore_unary unary = {&method, message_init(&m, 7), &options};
  /* Before and after its time. */
  for (int i = 0; i < 2; i++) {
    enum auditstore_code code = AUDITSTORE_OK;
    assert_int_equal(auditstore_call_start(w->channel, &unary, on_done, &code, NULL),
                     AUDITSTORE_OK);
    auditstore_cancellation_cancel(cancellation);
    assert_int_equal(code, AUDITSTORE_OK);
    auditstore_channel_dispatch(w->channel);
    assert_int_equal(code, AUDITSTORE_CANCELLED);
  }
  auditstore_cancellation_free(cancellation);
}

#define THREADS 4
#define ROUNDS  100

struct busy {
  struct world *world;
  struct auditstore_cancellation *cancellation;
  int cancelled, good;
};

static void *call_often(void *arg) {
  struct busy *b = arg;
  const struct auditstore_call_options options = {.cancellation = b->cancellation};
  for (int i = 0; i < ROUNDS; i++) {
    enum auditstore_code code = call_with(b->world, "/fault/echo", &options, NULL);
    b->good += code == AUDITSTORE_OK;
    b->cancelled += code == AUDITSTORE_CANCELLED;
  }
  return NULL;
}

static void cancelling_busy_threads_is_safe(void **state) {
  struct world *w = *state;
  for (int round = 0; round < 5; round++) {
    struct auditstore_cancellation *cancellation = auditstore_cancellation_new();
    struct busy busy[THREADS];
    pthread_t threads[THREADS];
    int before = fault_server_requests(w->server);
    for (int i = 0; i < THREADS; i++) {
      busy[i] = (struct busy){w, cancellation, 0, 0};
      pthread_create(&threads[i], NULL, call_often, &busy[i]);
    }
    while (fault_server_requests(w->server) < before + ROUNDS)
      sched_yield();
    auditstore_cancellation_cancel(cancellation);
    for (int i = 0; i < THREADS; i++) {
      pthread_join(threads[i], NULL);
      assert_int_equal(busy[i].good + busy[i].cancelled, ROUNDS);
    }
    auditstore_cancellation_free(cancellation);
  }
  expect(w, "/fault/echo", AUDITSTORE_OK);
}

static void *shut_down(void *arg) {
  struct world *w = arg;
  while (fault_server_requests(w->server) < 1)
    sched_yield();
  auditstore_channel_shutdown(w->channel);
  return NULL;
}

static void a_shutdown_ends_what_waits_in_other_threads(void **state) {
  struct world *w = *state;
  struct auditstore_status status = {0};
  pthread_t thread;
  pthread_create(&thread, NULL, shut_down, w);
  assert_int_equal(call(w, "/fault/silent", 60000, &status), AUDITSTORE_CANCELLED);
  assert_string_equal(status.message, "the channel was shut down");
  pthread_join(thread, NULL);
  assert_int_equal(call(w, "/fault/echo", 60000, &status), AUDITSTORE_CANCELLED);
  auditstore_status_deinit(&status);
  assert_int_equal(auditstore_channel_state(w->channel, true), AUDITSTORE_CHANNEL_SHUTDOWN);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_unary_call_is_cancelled_by_another_thread),
      cmocka_unit_test(a_call_that_waits_for_a_connection_is_cancelled),
      TEST(a_stream_is_cancelled_with_a_call_of_another_channel),
      TEST(a_started_call_is_cancelled),
      TEST(cancelling_busy_threads_is_safe),
      TEST(a_shutdown_ends_what_waits_in_other_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
