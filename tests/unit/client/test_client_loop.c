/* The client library within a program's own loop: poll(2) and one thread. */
#include "client_fixture.h"

#include <poll.h>
#include <pthread.h>

#define CALLS 200

/* Polls and dispatches until `*done` is `wanted`. Nothing but the descriptor wakes it. */
static void run_until(struct auditstore_channel *channel, const int *done, int wanted) {
  int64_t limit = now_ms() + 30000;
  struct pollfd pfd = {.fd = auditstore_channel_fd(channel), .events = POLLIN};
  assert_true(pfd.fd >= 0);
  while (*done < wanted) {
    assert_true(poll(&pfd, 1, 30000) > 0);
    assert_true(now_ms() < limit);
    auditstore_channel_dispatch(channel);
  }
}

struct tally {
  struct auditstore_channel *channel;
  int done, good;
  enum auditstore_code code; /* of the last one */
  char message[512];
};

static void count(void *arg, ProtobufCMessage *response, const struct auditstore_status *status) {
  struct tally *t = arg;
  t->done++;
  t->code = status->code;
  snprintf(t->message, sizeof(t->message), "%s", status->message ? status->message : "");
  assert_int_equal(status->code == AUDITSTORE_OK, response != NULL);
  t->good += response && sequence_of(response) == 7;
  protobuf_c_message_free_unpacked(response, NULL);
}

static void start_call(struct auditstore_channel *channel, const char *path,
                       const struct auditstore_call_options *options, struct tally *t) {
  static struct auditstore_method method;
  struct message m;
  method = method_of(path);
  const struct auditstore_unary unary = {&method, message_init(&m, 7), options};
  assert_int_equal(auditstore_call_start(channel, &unary, count, t, NULL), AUDITSTORE_OK);
}

static enum auditstore_code run_one(struct world *w, const char *path,
                                    const struct auditstore_call_options *options) {
  struct tally t = {0};
  start_call(w->channel, path, options, &t);
  run_until(w->channel, &t.done, 1);
  assert_int_equal(t.done, 1);
  return t.code;
}

/* ---- calls ---- */

static void calls_go_out_and_come_back(void **state) {
  struct world *w = *state;
  struct tally t = {0};
  for (int i = 0; i < CALLS; i++)
    start_call(w->channel, "/fault/echo", NULL, &t);
  assert_int_equal(t.done, 0);
  run_until(w->channel, &t.done, CALLS);
  assert_int_equal(t.good, CALLS);
  assert_int_equal(fault_server_connections(w->server), 1);
}

static void count_and_start(void *arg, ProtobufCMessage *response,
                            const struct auditstore_status *status) {
  struct tally *t = arg;
  count(t, response, status);
  static struct auditstore_method method;
  struct message m;
  method = method_of("/fault/echo");
  const struct auditstore_unary unary = {&method, message_init(&m, 7), NULL};
  if (t->done < 20)
    assert_int_equal(auditstore_call_start(t->channel, &unary, count_and_start, t, NULL),
                     AUDITSTORE_OK);
}

static void a_callback_may_start_the_next_call(void **state) {
  struct world *w = *state;
  struct tally t = {.channel = w->channel};
  const struct auditstore_method method = method_of("/fault/echo");
  struct message m;
  const struct auditstore_unary unary = {&method, message_init(&m, 7), NULL};
  assert_int_equal(auditstore_call_start(w->channel, &unary, count_and_start, &t, NULL),
                   AUDITSTORE_OK);
  run_until(w->channel, &t.done, 20);
  assert_int_equal(t.good, 20);
}

static void faults_end_in_their_codes_in_a_loop_too(void **state) {
  struct world *w = *state;
  const struct auditstore_call_options hasty = {.timeout_ms = 100};
  assert_int_equal(run_one(w, "/fault/error", NULL), AUDITSTORE_INVALID_ARGUMENT);
  assert_int_equal(run_one(w, "/fault/garbage", NULL), AUDITSTORE_INTERNAL);
  assert_int_equal(run_one(w, "/fault/none", NULL), AUDITSTORE_INTERNAL);
  assert_int_equal(run_one(w, "/fault/silent", &hasty), AUDITSTORE_DEADLINE_EXCEEDED);
  assert_int_equal(run_one(w, "/fault/goaway_once", NULL), AUDITSTORE_OK);
  assert_int_equal(run_one(w, "/fault/refused_once", NULL), AUDITSTORE_OK);
  assert_int_equal(run_one(w, "/fault/close", NULL), AUDITSTORE_UNAVAILABLE);
  assert_int_equal(run_one(w, "/fault/echo", NULL), AUDITSTORE_OK);
}

static void a_call_that_makes_no_sense_does_not_start(void **state) {
  struct world *w = *state;
  static const struct auditstore_metadata bad = {"Upper", "x", 1};
  const struct auditstore_call_options options = {.metadata = &bad, .metadata_count = 1};
  const struct auditstore_method method = method_of("/fault/echo");
  struct message m;
  struct tally t = {0};
  struct auditstore_status status = {0};
  const struct auditstore_unary unary = {&method, message_init(&m, 7), &options};
  assert_int_equal(auditstore_call_start(w->channel, &unary, count, &t, &status),
                   AUDITSTORE_INVALID_ARGUMENT);
  assert_non_null(strstr(status.message, "Upper"));
  auditstore_status_deinit(&status);
  auditstore_channel_dispatch(w->channel);
  assert_int_equal(t.done, 0);
}

/* ---- connecting ---- */

static void nobody_there_is_told_by_the_callback(void **state) {
  (void)state;
  struct world w = world_with(fault_server_bind(1), NULL);
  struct tally t = {0};
  start_call(w.channel, "/fault/echo", NULL, &t);
  run_until(w.channel, &t.done, 1);
  assert_int_equal(t.code, AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(t.message, "can't connect to "));
  /* And by the state, to the next ones. */
  start_call(w.channel, "/fault/echo", NULL, &t);
  run_until(w.channel, &t.done, 2);
  assert_int_equal(t.code, AUDITSTORE_UNAVAILABLE);
  world_close(&w);
}

static void the_loop_waits_out_backoffs_by_itself(void **state) {
  (void)state;
  const struct auditstore_channel_options options = {
      .backoff = {.initial_ms = 50, .multiplier = 1}};
  const struct auditstore_call_options patient = {.wait_for_ready = true, .timeout_ms = 20000};
  struct world w = world_with(fault_server_bind(100), &options);
  struct tally t = {0};
  start_call(w.channel, "/fault/echo", &patient, &t);
  struct pollfd pfd = {.fd = auditstore_channel_fd(w.channel), .events = POLLIN};
  for (int i = 0; i < 5; i++) {
    assert_true(poll(&pfd, 1, 20000) > 0);
    auditstore_channel_dispatch(w.channel);
  }
  assert_int_equal(t.done, 0);
  fault_server_listen(w.server);
  fault_server_serve(w.server);
  run_until(w.channel, &t.done, 1);
  assert_int_equal(t.code, AUDITSTORE_OK);
  world_close(&w);
}

static void a_server_that_says_nothing_is_given_up_by_the_timer(void **state) {
  (void)state;
  const struct auditstore_channel_options options = {.connect_timeout_ms = 100};
  struct world w = world_with(fault_server_bind(100), &options);
  struct tally t = {0};
  fault_server_listen(w.server);
  start_call(w.channel, "/fault/echo", NULL, &t);
  run_until(w.channel, &t.done, 1);
  assert_int_equal(t.code, AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(t.message, "didn't come in time"));
  world_close(&w);
}

/* ---- streams ---- */

static void wait_ready(struct world *w) {
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  while (auditstore_channel_state(w->channel, true) != AUDITSTORE_CHANNEL_READY) {
    assert_true(poll(&pfd, 1, 20000) > 0);
    auditstore_channel_dispatch(w->channel);
  }
}

static void streams_work_without_ever_waiting(void **state) {
  struct world *w = *state;
  wait_ready(w);
  struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  int sent = 0;
  int received = 0;
  while (received < 5000) {
    struct message m;
    if (sent < 5000 &&
        auditstore_stream_send(stream, message_init(&m, sent), 0) == AUDITSTORE_STREAM_OK)
      sent++;
    enum auditstore_stream_result result = AUDITSTORE_STREAM_OK;
    while ((result = receive_one(stream, 0)) == AUDITSTORE_STREAM_OK)
      received++;
    assert_int_equal(result, AUDITSTORE_STREAM_AGAIN);
    if (sent == 5000 && received < 5000)
      assert_true(poll(&pfd, 1, 20000) > 0);
    auditstore_channel_dispatch(w->channel);
  }
  finish(stream, AUDITSTORE_OK);
}

#define LARGE_BYTES ((size_t)1024 * 1024)

static int setup_wide(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  struct fault_server *server = fault_server_bind(100);
  fault_server_widen(server);
  fault_server_listen(server);
  fault_server_serve(server);
  *w = world_with(server, NULL);
  *state = w;
  return 0;
}

static void poll_and_dispatch(struct world *w) {
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  assert_true(poll(&pfd, 1, 20000) > 0);
  auditstore_channel_dispatch(w->channel);
}

static void what_the_socket_did_not_take_is_written_when_it_does(void **state) {
  struct world *w = *state;
  char *data = calloc(1, LARGE_BYTES + 1);
  memset(data, 'x', LARGE_BYTES);
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  struct message m;
  message_init(&m, 0);
  event.event_data = data;
  m.stored.event = &event;
  wait_ready(w);
  struct auditstore_stream *stream = open_stream(w, "/fault/none", 30000);
  /* The server says nothing until it has all of it: only room in the socket wakes the loop. */
  for (int sent = 0; sent < 24;) {
    enum auditstore_stream_result result = auditstore_stream_send(stream, &m.response.base, 0);
    sent += result == AUDITSTORE_STREAM_OK;
    if (result != AUDITSTORE_STREAM_OK)
      poll_and_dispatch(w);
  }
  auditstore_stream_half_close(stream);
  while (receive_one(stream, 0) == AUDITSTORE_STREAM_AGAIN)
    poll_and_dispatch(w);
  finish(stream, AUDITSTORE_OK);
  free(data);
}

static void a_quiet_loop_stays_quiet(void **state) {
  struct world *w = *state;
  struct tally t = {0};
  start_call(w->channel, "/fault/echo", NULL, &t);
  run_until(w->channel, &t.done, 1);
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  int wakes = 0;
  while (poll(&pfd, 1, 100) > 0) {
    auditstore_channel_dispatch(w->channel);
    assert_true(wakes++ < 10);
  }
}

/* ---- with other threads ---- */

static void *call_many(void *arg) {
  struct world *w = arg;
  size_t good = 0;
  for (int i = 0; i < CALLS; i++)
    good += call(w, "/fault/echo", 20000, NULL) == AUDITSTORE_OK;
  return (void *)good;
}

static void blocking_calls_of_other_threads_go_on(void **state) {
  struct world *w = *state;
  struct tally t = {0};
  pthread_t threads[3];
  assert_true(auditstore_channel_fd(w->channel) >= 0);
  for (int i = 0; i < 3; i++)
    pthread_create(&threads[i], NULL, call_many, w);
  for (int i = 0; i < CALLS; i++) {
    start_call(w->channel, "/fault/echo", NULL, &t);
    run_until(w->channel, &t.done, i + 1);
  }
  for (int i = 0; i < 3; i++) {
    void *good = NULL;
    pthread_join(threads[i], &good);
    assert_int_equal((size_t)good, CALLS);
  }
  assert_int_equal(t.good, CALLS);
  assert_int_equal(fault_server_connections(w->server), 1);
}

static void an_answer_that_another_call_read_wakes_the_loop(void **state) {
  struct world *w = *state;
  struct tally t = {0};
  assert_true(auditstore_channel_fd(w->channel) >= 0);
  expect(w, "/fault/echo", AUDITSTORE_OK);
  auditstore_channel_dispatch(w->channel);
  start_call(w->channel, "/fault/echo", NULL, &t);
  for (int i = 0; i < 5; i++)
    expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(t.done, 0);
  /* At once, not when some timer goes off. */
  struct pollfd pfd = {.fd = auditstore_channel_fd(w->channel), .events = POLLIN};
  assert_true(poll(&pfd, 1, 10000) > 0);
  auditstore_channel_dispatch(w->channel);
  assert_int_equal(t.good, 1);
}

static void *start_from_afar(void *arg) {
  struct tally *t = arg;
  start_call(t->channel, "/fault/echo", NULL, t);
  return NULL;
}

static void a_call_started_by_another_thread_wakes_the_loop(void **state) {
  struct world *w = *state;
  for (int i = 0; i < 20; i++) {
    struct tally t = {.channel = w->channel};
    pthread_t thread;
    pthread_create(&thread, NULL, start_from_afar, &t);
    run_until(w->channel, &t.done, 1);
    pthread_join(thread, NULL);
    assert_int_equal(t.good, 1);
    fault_server_drop_connections(w->server);
  }
}

/* ---- the end ---- */

struct owner {
  struct auditstore_cancellation *cancellation;
  int done;
};

static void free_cancellation(void *arg, ProtobufCMessage *response,
                              const struct auditstore_status *status) {
  struct owner *o = arg;
  assert_int_equal(status->code, AUDITSTORE_OK);
  protobuf_c_message_free_unpacked(response, NULL);
  auditstore_cancellation_free(o->cancellation);
  o->done++;
}

static void a_callback_may_free_what_could_have_cancelled_the_call(void **state) {
  struct world *w = *state;
  struct owner owner = {.cancellation = auditstore_cancellation_new()};
  const struct auditstore_call_options options = {.cancellation = owner.cancellation};
  const struct auditstore_method method = method_of("/fault/echo");
  struct message m;
  const struct auditstore_unary unary = {&method, message_init(&m, 7), &options};
  assert_int_equal(auditstore_call_start(w->channel, &unary, free_cancellation, &owner, NULL),
                   AUDITSTORE_OK);
  run_until(w->channel, &owner.done, 1);
}

static void a_shutdown_reaches_the_callbacks(void **state) {
  struct world *w = *state;
  struct tally t = {0};
  start_call(w->channel, "/fault/silent", NULL, &t);
  auditstore_channel_dispatch(w->channel);
  auditstore_channel_shutdown(w->channel);
  run_until(w->channel, &t.done, 1);
  assert_int_equal(t.code, AUDITSTORE_CANCELLED);
  start_call(w->channel, "/fault/echo", NULL, &t);
  run_until(w->channel, &t.done, 2);
  assert_int_equal(t.code, AUDITSTORE_CANCELLED);
}

static void calls_that_nobody_dispatched_are_freed_with_the_channel(void **state) {
  struct world *w = *state;
  struct world other = {w->server,
                        auditstore_channel_new(fault_server_target(w->server), NULL, NULL)};
  struct tally t = {0};
  for (int i = 0; i < 3; i++)
    start_call(other.channel, "/fault/silent", NULL, &t);
  auditstore_channel_dispatch(other.channel);
  auditstore_channel_free(other.channel);
  assert_int_equal(t.done, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(calls_go_out_and_come_back),
      TEST(a_callback_may_start_the_next_call),
      TEST(faults_end_in_their_codes_in_a_loop_too),
      TEST(a_call_that_makes_no_sense_does_not_start),
      cmocka_unit_test(nobody_there_is_told_by_the_callback),
      cmocka_unit_test(the_loop_waits_out_backoffs_by_itself),
      cmocka_unit_test(a_server_that_says_nothing_is_given_up_by_the_timer),
      TEST(streams_work_without_ever_waiting),
      cmocka_unit_test_setup_teardown(what_the_socket_did_not_take_is_written_when_it_does,
                                      setup_wide, teardown),
      TEST(a_quiet_loop_stays_quiet),
      TEST(blocking_calls_of_other_threads_go_on),
      TEST(an_answer_that_another_call_read_wakes_the_loop),
      TEST(a_call_started_by_another_thread_wakes_the_loop),
      TEST(a_callback_may_free_what_could_have_cancelled_the_call),
      TEST(a_shutdown_reaches_the_callbacks),
      TEST(calls_that_nobody_dispatched_are_freed_with_the_channel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
