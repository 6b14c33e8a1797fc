/* The publisher when it is full, its modes, its threads, its end. */
#include "publisher_fixture.h"

#include <signal.h>

/* ---- full ---- */

static void a_full_queue_refuses_at_once_when_told_so(void **state) {
  struct world *w = *state;
  w->script = hold;
  w->is_held = true;
  w->options.when_full = AUDITSTORE_FULL_REFUSE;
  w->options.max_queue_events = 10;
  start(w);
  publish_range(w, 0, 10);
  assert_int_equal(publish(w, 10), AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_int_equal(publish_array(w, 10, 2), AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_int_equal(publish_array(w, 10, 11), AUDITSTORE_INVALID_ARGUMENT);
  struct auditstore_publisher_counters c = counters(w);
  assert_int_equal(c.refused, 14);
  assert_int_equal(c.taken, 10);
  assert_int_equal(c.queue_events, 10);
}

static void the_queue_is_bounded_by_bytes_too(void **state) {
  struct world *w = *state;
  uint64_t taken = 0;
  store_server_leave(w->server);
  w->options.when_full = AUDITSTORE_FULL_REFUSE;
  w->options.max_batch_bytes = 1024;
  w->options.max_queue_bytes = 10000;
  start(w);
  while (taken < 1000 && publish(w, taken) == AUDITSTORE_OK)
    taken++;
  assert_in_range(taken, 20, 100);
  assert_in_range(counters(w).queue_bytes, 9000, 10000);
}

static void a_full_queue_blocks_up_to_the_timeout(void **state) {
  struct world *w = *state;
  store_server_leave(w->server);
  w->options.max_queue_events = 10;
  w->options.timeout_ms = 50;
  start(w);
  publish_range(w, 0, 10);
  assert_int_equal(publish(w, 10), AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_int_equal(counters(w).refused, 1);
}

static void a_blocked_publish_goes_on_when_there_is_room(void **state) {
  struct world *w = *state;
  w->options.max_queue_events = 10;
  start(w);
  publish_range(w, 0, 3000);
  flush_all(w);
  expect_stored_in_order(w, 3000);
  assert_int_equal(counters(w).refused, 0);
}

/* ---- modes ---- */

static void fail_closed_is_ok_when_the_store_has_it(void **state) {
  struct world *w = *state;
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  start(w);
  for (size_t i = 0; i < 50; i++) {
    assert_int_equal(publish(w, i), AUDITSTORE_OK);
    assert_int_equal(store_server_stored(w->server), i + 1);
  }
}

static void fail_closed_says_when_the_store_does_not_have_it(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  store_server_leave(w->server);
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  w->options.timeout_ms = 200;
  start(w);
  assert_int_equal(auditstore_publisher_publish(w->publisher, event_init(&e, 0), 0, &status),
                   AUDITSTORE_DEADLINE_EXCEEDED);
  assert_non_null(strstr(status.message, "UNAVAILABLE"));
  auditstore_status_deinit(&status);
  assert_int_equal(counters(w).refused, 0);
  store_server_return(w->server);
  flush_all(w);
  expect_stored_in_order(w, 1);
}

static void fail_closed_says_what_the_store_refused(void **state) {
  struct world *w = *state;
  w->script = reject_third;
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  start(w);
  assert_int_equal(publish(w, 2), AUDITSTORE_OK);
  assert_int_equal(publish(w, 3), AUDITSTORE_ALREADY_EXISTS);
  assert_int_equal(publish(w, 4), AUDITSTORE_OK);
  assert_int_equal(publish_array(w, 0, 5), AUDITSTORE_ALREADY_EXISTS);
}

static void fail_open_never_fails_and_tells_what_it_did_not_take(void **state) {
  struct world *w = *state;
  struct event e;
  store_server_leave(w->server);
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_OPEN;
  w->options.max_queue_events = 10;
  start(w);
  publish_range(w, 0, 15);
  event_init(&e, 0);
  e.event.event_action = (char *)"";
  assert_int_equal(auditstore_publisher_publish(w->publisher, &e.event, 77, NULL), AUDITSTORE_OK);
  assert_int_equal(counters(w).taken, 10);
  assert_int_equal(counters(w).refused, 6);
  assert_int_equal(w->told_count, 6);
  for (size_t i = 0; i < 6; i++) {
    assert_false(w->told[i].was_taken);
    assert_int_equal(w->told[i].code,
                     i < 5 ? AUDITSTORE_RESOURCE_EXHAUSTED : AUDITSTORE_INVALID_ARGUMENT);
    assert_int_equal(w->told[i].tag, i < 5 ? 10 + i : 77);
  }
}

/* ---- threads ---- */

struct writer {
  struct world *world;
  pthread_t thread;
  uint64_t first;
};

static void *write_many(void *arg) {
  const struct writer *writer = arg;
  for (uint64_t i = 0; i < 500; i++)
    if (publish(writer->world, writer->first + i) != AUDITSTORE_OK)
      return "failed";
  return NULL;
}

static void many_threads_publish_at_once(void **state) {
  struct world *w = *state;
  struct writer writers[8];
  uint64_t next[8] = {0};
  w->options.max_queue_events = 100;
  start(w);
  for (size_t i = 0; i < 8; i++) {
    writers[i] = (struct writer){.world = w, .first = i * 500};
    pthread_create(&writers[i].thread, NULL, write_many, &writers[i]);
  }
  for (size_t i = 0; i < 8; i++) {
    void *failure = NULL;
    pthread_join(writers[i].thread, &failure);
    assert_null(failure);
  }
  flush_all(w);
  expect_told(w, 4000);
  /* Each thread's own order is kept. */
  for (size_t i = 0; i < 4000; i++) {
    uint64_t number = strtoull(store_server_type(w->server, i), NULL, 10);
    assert_int_equal(number % 500, next[number / 500]++);
  }
}

static void publish_more(void *arg, const struct auditstore_publish_result *result) {
  struct world *w = arg;
  note_result(w, result);
  if (result->tag < 20)
    w->calls += publish(w, result->tag + 1) != AUDITSTORE_OK;
}

static void the_callback_may_publish(void **state) {
  struct world *w = *state;
  w->options.on_result = publish_more;
  start(w);
  publish_range(w, 0, 1);
  WAIT_FOR(counters(w).acknowledged == 21);
  assert_int_equal(w->calls, 0);
}

static void the_callback_is_refused_where_it_would_wait_for_itself(void **state) {
  struct world *w = *state;
  w->options.on_result = publish_more;
  w->options.max_queue_events = 1;
  start(w);
  publish_range(w, 0, 1);
  WAIT_FOR(counters(w).acknowledged == 1);
  flush_all(w);
  assert_int_equal(w->calls, 1);
  assert_int_equal(counters(w).refused, 1);
}

static void signals_stay_with_the_program(void **state) {
  struct world *w = *state;
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  start(w);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  assert_int_equal(sigismember(&before, SIGUSR1), sigismember(&after, SIGUSR1));
}

/* ---- the end ---- */

static void close_returns_what_is_unconfirmed(void **state) {
  struct world *w = *state;
  w->script = hold;
  w->is_held = true;
  start(w);
  publish_range(w, 0, 30);
  assert_int_equal(auditstore_publisher_flush(w->publisher, 20), 30);
  assert_int_equal(auditstore_publisher_close(w->publisher, 20), 30);
  assert_int_equal(auditstore_publisher_close(w->publisher, 20), 30);
  assert_int_equal(publish(w, 30), AUDITSTORE_FAILED_PRECONDITION);
}

static void close_waits_for_the_last_answer(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 1000);
  close_publisher(w, 0);
  expect_stored_in_order(w, 1000);
}

static void close_lets_go_of_those_who_wait(void **state) {
  struct world *w = *state;
  struct writer writer = {.world = w};
  store_server_leave(w->server);
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  start(w);
  pthread_create(&writer.thread, NULL, write_many, &writer);
  WAIT_FOR(counters(w).taken == 1);
  assert_int_equal(auditstore_publisher_close(w->publisher, 0), 1);
  void *failure = NULL;
  pthread_join(writer.thread, &failure);
  assert_non_null(failure);
}

static void options_that_make_no_sense_are_named(void **state) {
  struct world *w = *state;
  const struct {
    struct auditstore_publisher_options options;
    const char *text;
  } cases[] = {
      {{.mode = (enum auditstore_publish_mode)3}, "mode"},
      {{.when_full = (enum auditstore_full_policy)4}, "when_full"},
      {{.timeout_ms = -1}, "timeout_ms"},
      {{.max_batch_events = 10001}, "max_batch_events"},
      {{.max_batch_bytes = 1023}, "max_batch_bytes"},
      {{.max_batch_bytes = 2048, .max_queue_bytes = 2047}, "max_queue_bytes"},
      {{.max_in_flight = 65}, "max_in_flight"},
      {{.max_in_flight = -1}, "max_in_flight"},
      {{.answer_timeout_ms = -1}, "answer_timeout_ms"},
      {{.spool_dir = ""}, "spool_dir"},
      {{.when_full = AUDITSTORE_FULL_SPILL}, "needs spool_dir"},
      {{.spool_dir = "/x", .spool_max_bytes = 1000}, "spool_max_bytes"},
      {{.spool_dir = "/x", .spool_unsynced_ms = -1}, "spool_unsynced_ms"},
      {{.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED, .spool_dir = "/x", .spool_unsynced_ms = 1},
       "not in FAIL_CLOSED"},
      {{.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED,
        .spool_dir = "/x",
        .when_full = AUDITSTORE_FULL_SPILL},
       "not in FAIL_CLOSED"},
      {{.mode = AUDITSTORE_PUBLISH_FAIL_OPEN, .when_full = AUDITSTORE_FULL_BLOCK}, "FAIL_OPEN"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    w->options = cases[i].options;
    expect_no_start(w, AUDITSTORE_INVALID_ARGUMENT, cases[i].text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_full_queue_refuses_at_once_when_told_so),
      TEST(the_queue_is_bounded_by_bytes_too),
      TEST(a_full_queue_blocks_up_to_the_timeout),
      TEST(a_blocked_publish_goes_on_when_there_is_room),
      TEST(fail_closed_is_ok_when_the_store_has_it),
      TEST(fail_closed_says_when_the_store_does_not_have_it),
      TEST(fail_closed_says_what_the_store_refused),
      TEST(fail_open_never_fails_and_tells_what_it_did_not_take),
      TEST(many_threads_publish_at_once),
      TEST(the_callback_may_publish),
      TEST(the_callback_is_refused_where_it_would_wait_for_itself),
      TEST(signals_stay_with_the_program),
      TEST(close_returns_what_is_unconfirmed),
      TEST(close_waits_for_the_last_answer),
      TEST(close_lets_go_of_those_who_wait),
      TEST(options_that_make_no_sense_are_named),
  };
  return cmocka_run_group_tests_name("publisher_modes", tests, NULL, NULL);
}
