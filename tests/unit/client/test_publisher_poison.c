/* Events that a store fails at each time: they harm nobody but themselves. */
#include "publisher_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* ---- events ---- */

static const Auditstore__V1__AuditEvent *bad_event_init(struct event *e) {
  event_init(e, 9999);
  e->event.event_action = (char *)"bad";
  return &e->event;
}

#define BAD_TAG 9999

/* Numbers first .. behind - 1 with `bad_count` bad ones in front of number bad_at, as one array. */
static void publish_with_bad(struct world *w, size_t count, size_t bad_at, size_t bad_count) {
  struct event events[64];
  const Auditstore__V1__AuditEvent *pointers[64];
  uint64_t tags[64];
  size_t n = 0;
  for (; n < count + bad_count; n++) {
    bool is_bad = n >= bad_at && n < bad_at + bad_count;
    size_t number = n < bad_at ? n : n - bad_count;
    pointers[n] = is_bad ? bad_event_init(&events[n]) : event_init(&events[n], number);
    tags[n] = is_bad ? BAD_TAG : number;
  }
  assert_int_equal(auditstore_publisher_publish_all(w->publisher, pointers, tags, n, NULL),
                   AUDITSTORE_OK);
}

static size_t bad_index(const Auditstore__V1__StreamEventsRequest *batch) {
  size_t i = 0;
  while (i < batch->n_events && strcmp(batch->events[i]->event_action, "bad") != 0)
    i++;
  return i;
}

/* ---- stores: w->limit is a code, or how often ---- */

static void fail_bad(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                     struct store_reply *reply) {
  struct world *w = arg;
  (void)number;
  if (bad_index(batch) == batch->n_events)
    return;
  w->calls += batch->n_events == 1;
  *reply = (struct store_reply){.action = STORE_REFUSE, .code = (enum auditstore_code)w->limit};
}

static void end_at_bad(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                       struct store_reply *reply) {
  fail_bad(arg, number, batch, reply);
  if (reply->action == STORE_REFUSE)
    reply->action = STORE_END;
}

static void fail_at_bad_alone(void *arg, size_t number,
                              const Auditstore__V1__StreamEventsRequest *batch,
                              struct store_reply *reply) {
  struct world *w = arg;
  size_t i = bad_index(batch);
  (void)number;
  w->calls += i < batch->n_events;
  if (i < batch->n_events)
    *reply = (struct store_reply){
        .action = STORE_REJECT, .code = (enum auditstore_code)w->limit, .index = i};
}

static void leave_bad_out(void *arg, size_t number,
                          const Auditstore__V1__StreamEventsRequest *batch,
                          struct store_reply *reply) {
  (void)arg;
  (void)number;
  if (strcmp(batch->events[batch->n_events - 1]->event_action, "bad") == 0)
    reply->action = STORE_FORGET;
}

/* ---- what became of them ---- */

/* The good ones are stored in order and told; each bad one was told once, with this code. */
static void expect_bad_alone_rejected(struct world *w, size_t good, size_t bad,
                                      enum auditstore_code code) {
  size_t told_bad = 0;
  flush_all(w);
  expect_stored_in_order(w, good);
  assert_int_equal(w->told_count, good + bad);
  for (size_t i = 0; i < w->told_count; i++) {
    bool is_bad = w->told[i].tag == BAD_TAG;
    told_bad += is_bad;
    assert_int_equal(w->told[i].code, is_bad ? code : AUDITSTORE_OK);
  }
  assert_int_equal(told_bad, bad);
  assert_int_equal(counters(w).rejected, bad);
  assert_int_equal(counters(w).acknowledged, good);
  assert_int_equal(counters(w).duplicates, 0);
}

static const char *why_rejected(const struct world *w) {
  for (size_t i = 0; i < w->told_count; i++)
    if (w->told[i].tag == BAD_TAG)
      return w->told[i].message;
  return "";
}

/* A publisher of a store with that script, which gives an event up after so many tries. */
static void start_failing(struct world *w, store_batch_cb *script, enum auditstore_code code,
                          int tries) {
  w->script = script;
  w->limit = code;
  w->options.max_internal_tries = tries;
  start(w);
}

/* ---- refused alone ---- */

static void check_refused_alone(struct world *w, enum auditstore_code code) {
  w->script = fail_at_bad_alone;
  w->limit = code;
  start(w);
  publish_with_bad(w, 20, 7, 1);
  expect_bad_alone_rejected(w, 20, 1, code);
  assert_int_equal(store_server_batches(w->server), 1);
  assert_string_equal(why_rejected(w), "as the test says");
}

static void an_event_whose_row_the_database_refuses_is_rejected_at_once(void **state) {
  check_refused_alone(*state, AUDITSTORE_FAILED_PRECONDITION);
}

static void an_event_out_of_range_is_rejected_at_once(void **state) {
  check_refused_alone(*state, AUDITSTORE_OUT_OF_RANGE);
}

/* ---- failed at ---- */

static void check_set_aside(struct world *w, store_batch_cb *script, enum auditstore_code code) {
  start_failing(w, script, code, 3);
  publish_with_bad(w, 20, 7, 1);
  expect_bad_alone_rejected(w, 20, 1, code);
  assert_int_equal(w->calls, 3);
  assert_string_equal(why_rejected(w), "given up at try 3, alone: as the test says");
}

static void an_event_that_fails_its_batch_each_time_is_set_aside(void **state) {
  check_set_aside(*state, fail_bad, AUDITSTORE_INTERNAL);
}

static void an_event_that_fails_in_a_way_unknown_is_set_aside(void **state) {
  check_set_aside(*state, fail_bad, AUDITSTORE_UNKNOWN);
}

static void an_event_that_fails_its_batch_by_a_precondition_is_set_aside(void **state) {
  check_set_aside(*state, fail_bad, AUDITSTORE_FAILED_PRECONDITION);
}

static void an_event_that_is_failed_at_beside_good_ones_is_set_aside(void **state) {
  check_set_aside(*state, fail_at_bad_alone, AUDITSTORE_INTERNAL);
}

static void an_event_that_gets_a_strange_answer_is_set_aside(void **state) {
  check_set_aside(*state, fail_at_bad_alone, AUDITSTORE_UNIMPLEMENTED);
}

static void an_event_that_ends_the_stream_each_time_is_set_aside(void **state) {
  struct world *w = *state;
  start_failing(w, end_at_bad, AUDITSTORE_INTERNAL, 3);
  publish_with_bad(w, 20, 7, 1);
  expect_bad_alone_rejected(w, 20, 1, AUDITSTORE_INTERNAL);
  assert_int_equal(w->calls, 3);
}

static void an_event_that_every_answer_leaves_out_is_set_aside(void **state) {
  struct world *w = *state;
  w->script = leave_bad_out;
  w->options.max_internal_tries = 3;
  start(w);
  publish_with_bad(w, 8, 8, 1);
  expect_bad_alone_rejected(w, 8, 1, AUDITSTORE_INTERNAL);
}

static void bad_events_side_by_side_are_set_aside_one_by_one(void **state) {
  struct world *w = *state;
  start_failing(w, fail_bad, AUDITSTORE_INTERNAL, 2);
  publish_with_bad(w, 20, 7, 2);
  expect_bad_alone_rejected(w, 20, 2, AUDITSTORE_INTERNAL);
}

static void several_batches_in_flight_get_past_a_bad_event(void **state) {
  struct world *w = *state;
  size_t told_bad = 0;
  w->options.max_batch_events = 5;
  start_failing(w, fail_bad, AUDITSTORE_INTERNAL, 2);
  publish_with_bad(w, 60, 22, 1);
  flush_all(w);
  assert_int_equal(store_server_stored(w->server), 60);
  for (size_t i = 0; i < w->told_count; i++)
    told_bad += w->told[i].tag == BAD_TAG;
  assert_int_equal(told_bad, 1);
  assert_int_equal(w->told_count, 61);
}

static void fail_closed_says_that_the_store_fails_at_an_event(void **state) {
  struct world *w = *state;
  struct event e;
  struct auditstore_status status = {0};
  w->options.mode = AUDITSTORE_PUBLISH_FAIL_CLOSED;
  start_failing(w, fail_bad, AUDITSTORE_INTERNAL, 1);
  assert_int_equal(publish(w, 0), AUDITSTORE_OK);
  assert_int_equal(auditstore_publisher_publish(w->publisher, bad_event_init(&e), 1, &status),
                   AUDITSTORE_INTERNAL);
  assert_non_null(strstr(status.message, "given up at try 1, alone"));
  assert_int_equal(publish(w, 1), AUDITSTORE_OK);
  auditstore_status_deinit(&status);
}

/* ---- not its fault ---- */

static void fail_some(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                      struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number < w->limit)
    *reply = (struct store_reply){.action = STORE_REFUSE, .code = AUDITSTORE_INTERNAL};
}

static void a_failure_that_passes_costs_no_event(void **state) {
  struct world *w = *state;
  w->script = fail_some;
  w->limit = 4;
  start(w);
  publish_range(w, 0, 1);
  flush_all(w);
  publish_range(w, 1, 20);
  flush_all(w);
  expect_stored_in_order(w, 20);
  expect_told(w, 20);
}

static size_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (size_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* An answer that leaves all of its events out. */
static void fail_at_each(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                         struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number < w->limit)
    reply->action = STORE_FORGET_ALL;
}

#define BROKEN_MS 4000

static void fail_for_a_while(void *arg, size_t number,
                             const Auditstore__V1__StreamEventsRequest *batch,
                             struct store_reply *reply) {
  struct world *w = arg;
  (void)batch;
  if (number == 0)
    w->limit = now_ms() + BROKEN_MS;
  if (now_ms() < w->limit)
    *reply = (struct store_reply){.action = STORE_REFUSE, .code = AUDITSTORE_INTERNAL};
}

static void a_store_that_fails_at_everything_for_a_while_costs_few_events(void **state) {
  struct world *w = *state;
  w->script = fail_for_a_while;
  w->options.max_internal_tries = 2;
  start(w);
  assert_int_equal(publish_array(w, 0, 64), AUDITSTORE_OK);
  flush_all(w);
  /* The first one after less than a second, the next 3 s later. */
  assert_in_range(counters(w).rejected, 1, 3);
  assert_int_equal(store_server_stored(w->server) + counters(w).rejected, 64);
}

/* The other one outlasts it. */
static void a_store_that_fails_at_each_event_costs_one(void **state) {
  struct world *w = *state;
  w->script = fail_at_each;
  w->limit = 4;
  w->options.max_internal_tries = 1;
  start(w);
  assert_int_equal(publish_array(w, 0, 2), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(counters(w).rejected, 1);
  assert_int_equal(store_server_stored(w->server), 1);
}

static void an_event_is_never_set_aside_when_told_so(void **state) {
  struct world *w = *state;
  w->script = fail_some;
  w->limit = 7;
  w->options.max_internal_tries = -1;
  start(w);
  publish_range(w, 0, 1);
  flush_all(w);
  expect_stored_in_order(w, 1);
  expect_told(w, 1);
}

/* However often. */
static void wait_at_first(void *arg, size_t number,
                          const Auditstore__V1__StreamEventsRequest *batch,
                          struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number < 8)
    *reply = (struct store_reply){.action = number % 2 ? STORE_REFUSE : STORE_REJECT,
                                  .code = (enum auditstore_code)w->limit,
                                  .retry_ms = 1};
}

static void check_never_set_aside(struct world *w, enum auditstore_code code) {
  start_failing(w, wait_at_first, code, 1);
  publish_range(w, 0, 1);
  flush_all(w);
  expect_stored_in_order(w, 1);
  expect_told(w, 1);
}

static void a_row_that_the_database_swallowed_is_sent_until_it_is_there(void **state) {
  check_never_set_aside(*state, AUDITSTORE_UNAVAILABLE);
}

static void an_event_that_collides_with_others_is_sent_until_it_is_there(void **state) {
  check_never_set_aside(*state, AUDITSTORE_ABORTED);
}

static void an_event_that_nobody_may_write_waits_for_the_operator(void **state) {
  check_never_set_aside(*state, AUDITSTORE_UNAUTHENTICATED);
}

/* ---- with a spool ---- */

static void die_at_bad(void *arg, const struct auditstore_publish_result *result) {
  (void)arg;
  if (result->code != AUDITSTORE_OK)
    kill(getpid(), SIGKILL);
}

/* In a process of its own: it dies when the bad event is noted, before the spool knows that. */
static void publish_and_die(struct world *w) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    w->channel = auditstore_channel_new(store_server_target(w->server), NULL, NULL);
    w->options.on_result = die_at_bad;
    start(w);
    publish_with_bad(w, 20, 7, 1);
    auditstore_publisher_flush(w->publisher, PATIENCE_MS);
    _exit(1);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static size_t rejected_lines(const struct world *w) {
  char path[128];
  char line[4096];
  size_t count = 0;
  snprintf(path, sizeof(path), "%s/rejected", w->spool);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof(line), file)) {
    assert_non_null(strstr(line, "\"code\":\"INTERNAL\""));
    assert_non_null(strstr(line, "alone: as the test says"));
    count++;
  }
  if (file)
    fclose(file);
  return count;
}

static void a_kill_behind_a_rejection_loses_nothing_and_stops_nothing(void **state) {
  struct world *w = *state;
  w->script = fail_bad;
  w->limit = AUDITSTORE_INTERNAL;
  w->options.max_internal_tries = 2;
  w->options.spool_dir = w->spool;
  publish_and_die(w);
  assert_int_equal(rejected_lines(w), 1);
  assert_true(store_server_stored(w->server) < 20);
  start(w);
  assert_int_equal(counters(w).replayed, 21);
  flush_all(w);
  expect_stored_in_order(w, 20);
  assert_int_equal(counters(w).rejected, 1);
  assert_in_range(rejected_lines(w), 1, 2);
  close_publisher(w, 0);
  size_t batches = store_server_batches(w->server);
  start(w);
  assert_int_equal(counters(w).unconfirmed, 0);
  assert_int_equal(store_server_batches(w->server), batches);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_event_whose_row_the_database_refuses_is_rejected_at_once),
      TEST(an_event_out_of_range_is_rejected_at_once),
      TEST(an_event_that_fails_its_batch_each_time_is_set_aside),
      TEST(an_event_that_fails_in_a_way_unknown_is_set_aside),
      TEST(an_event_that_fails_its_batch_by_a_precondition_is_set_aside),
      TEST(an_event_that_is_failed_at_beside_good_ones_is_set_aside),
      TEST(an_event_that_gets_a_strange_answer_is_set_aside),
      TEST(an_event_that_ends_the_stream_each_time_is_set_aside),
      TEST(an_event_that_every_answer_leaves_out_is_set_aside),
      TEST(bad_events_side_by_side_are_set_aside_one_by_one),
      TEST(several_batches_in_flight_get_past_a_bad_event),
      TEST(fail_closed_says_that_the_store_fails_at_an_event),
      TEST(a_failure_that_passes_costs_no_event),
      TEST(a_store_that_fails_at_everything_for_a_while_costs_few_events),
      TEST(a_store_that_fails_at_each_event_costs_one),
      TEST(an_event_is_never_set_aside_when_told_so),
      TEST(a_row_that_the_database_swallowed_is_sent_until_it_is_there),
      TEST(an_event_that_collides_with_others_is_sent_until_it_is_there),
      TEST(an_event_that_nobody_may_write_waits_for_the_operator),
      TEST(a_kill_behind_a_rejection_loses_nothing_and_stops_nothing),
  };
  return cmocka_run_group_tests_name("publisher_poison", tests, NULL, NULL);
}
