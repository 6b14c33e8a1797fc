/* The publisher without a spool: batches, answers, trouble. */
#include "publisher_fixture.h"

/* ---- what goes through ---- */

static void events_are_stored_in_order_and_told_with_their_place(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 2000);
  flush_all(w);
  expect_stored_in_order(w, 2000);
  expect_told(w, 2000);
  for (size_t i = 0; i < 2000; i++) {
    assert_int_equal(w->told[i].tag, i);
    assert_int_equal(w->told[i].sequence, i);
    assert_int_equal(w->told[i].ledger_id, 3);
    assert_int_equal(w->told[i].committed_us, 1700000000000005);
    assert_true(w->told[i].was_taken);
    assert_string_equal(w->told[i].id, store_server_id(w->server, i));
  }
  struct auditstore_publisher_counters c = counters(w);
  assert_int_equal(c.taken, 2000);
  assert_int_equal(c.acknowledged, 2000);
  assert_int_equal(c.unconfirmed + c.refused + c.rejected + c.duplicates, 0);
  assert_int_equal(c.queue_events + c.queue_bytes + c.in_flight_batches, 0);
  assert_int_equal(c.oldest_unconfirmed_ms, 0);
}

static void note_times(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                       struct store_reply *reply) {
  struct world *w = arg;
  (void)number;
  (void)reply;
  for (size_t i = 0; i < batch->n_events; i++)
    w->calls += batch->events[i]->event_time && batch->events[i]->event_time->seconds > 1700000000;
}

static void what_an_event_lacks_is_filled_and_what_it_has_is_kept(void **state) {
  struct world *w = *state;
  struct event e;
  w->script = note_times;
  start(w);
  event_init(&e, 0);
  assert_int_equal(auditstore_publisher_publish(w->publisher, &e.event, 1, NULL), AUDITSTORE_OK);
  assert_null(e.event.event_time);
  e.event.event_id = (char *)"01890a5d-ac96-774b-bcce-b302099a8057";
  assert_int_equal(auditstore_publisher_publish(w->publisher, &e.event, 2, NULL), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(w->calls, 2);
  assert_int_equal(store_server_id(w->server, 0)[14], '7');
  assert_string_equal(store_server_id(w->server, 1), "01890a5d-ac96-774b-bcce-b302099a8057");
}

static void an_array_is_taken_whole_or_not_at_all(void **state) {
  struct world *w = *state;
  struct event events[3];
  const Auditstore__V1__AuditEvent *pointers[3];
  struct auditstore_status status = {0};
  start(w);
  assert_int_equal(publish_array(w, 0, 700), AUDITSTORE_OK);
  for (size_t i = 0; i < 3; i++)
    pointers[i] = event_init(&events[i], i);
  events[1].event.event_action = (char *)"";
  assert_int_equal(auditstore_publisher_publish_all(w->publisher, pointers, NULL, 3, &status),
                   AUDITSTORE_INVALID_ARGUMENT);
  assert_string_equal(status.message, "events[1].event_action is required");
  auditstore_status_deinit(&status);
  flush_all(w);
  expect_stored_in_order(w, 700);
  expect_told(w, 700);
  assert_int_equal(counters(w).refused, 3);
}

static void expect_refusal(struct world *w, const Auditstore__V1__AuditEvent *event,
                           const char *text) {
  struct auditstore_status status = {0};
  assert_int_equal(auditstore_publisher_publish(w->publisher, event, 0, &status),
                   AUDITSTORE_INVALID_ARGUMENT);
  if (!strstr(status.message, text))
    fail_msg("\"%s\" isn't in: %s", text, status.message);
  auditstore_status_deinit(&status);
}

static void what_no_store_takes_is_refused_at_once(void **state) {
  struct world *w = *state;
  struct event e;
  static char large[2048];
  memset(large, ' ', sizeof(large) - 1);
  w->options.max_batch_bytes = 1024;
  start(w);
  event_init(&e, 0);
  e.event.event_type = (char *)"";
  expect_refusal(w, &e.event, "event_type is required");
  event_init(&e, 0);
  e.event.event_category = (char *)"";
  expect_refusal(w, &e.event, "event_category is required");
  event_init(&e, 0);
  e.event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED;
  expect_refusal(w, &e.event, "outcome is required");
  event_init(&e, 0);
  e.event.event_id = (char *)"4711";
  expect_refusal(w, &e.event, "event_id must be a UUID");
  event_init(&e, 0);
  e.event.event_data = large;
  expect_refusal(w, &e.event, "max_batch_bytes allows 1024");
  assert_int_equal(counters(w).refused, 5);
  assert_int_equal(counters(w).taken, 0);
}

/* ---- batches ---- */

static void note_largest(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                         struct store_reply *reply) {
  struct world *w = arg;
  (void)number;
  (void)reply;
  size_t bytes = auditstore__v1__stream_events_request__get_packed_size(batch);
  w->calls = batch->n_events > w->calls ? batch->n_events : w->calls;
  w->limit = bytes > w->limit ? bytes : w->limit;
}

static void batches_are_bounded_by_events(void **state) {
  struct world *w = *state;
  w->script = note_largest;
  w->options.max_batch_events = 7;
  start(w);
  assert_int_equal(publish_array(w, 0, 1000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 1000);
  assert_int_equal(w->calls, 7);
}

static void batches_are_bounded_by_bytes(void **state) {
  struct world *w = *state;
  w->script = note_largest;
  w->options.max_batch_bytes = 1024;
  start(w);
  assert_int_equal(publish_array(w, 0, 1000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 1000);
  assert_in_range(w->limit, 700, 1024 + 16);
}

static void what_comes_while_all_is_in_flight_is_one_batch(void **state) {
  struct world *w = *state;
  w->script = hold;
  w->is_held = true;
  w->options.max_in_flight = 1;
  w->options.answer_timeout_ms = 300;
  start(w);
  publish_range(w, 0, 1);
  WAIT_FOR(store_server_batches(w->server) == 1);
  publish_range(w, 1, 301);
  w->is_held = false;
  flush_all(w);
  expect_stored_in_order(w, 301);
  /* The first one again, and the rest together. */
  assert_int_equal(store_server_batches(w->server), 3);
}

static void several_batches_are_in_flight(void **state) {
  struct world *w = *state;
  w->script = hold;
  w->options.max_in_flight = 3;
  w->options.max_batch_events = 10;
  start(w);
  publish_range(w, 0, 1);
  flush_all(w);
  w->is_held = true;
  assert_int_equal(publish_array(w, 1, 100), AUDITSTORE_OK);
  WAIT_FOR(store_server_batches(w->server) == 4);
  WAIT_FOR(counters(w).in_flight_batches == 3);
  assert_int_equal(counters(w).unconfirmed, 100);
}

/* Every second one is answered behind the one after it, the last two in order. */
static void answer_late(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                        struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number % 2 == 1 && number < w->limit)
    reply->action = STORE_LATER;
}

static void answers_may_come_in_another_order(void **state) {
  struct world *w = *state;
  w->script = answer_late;
  w->limit = 98;
  w->options.max_batch_events = 10;
  start(w);
  /* As one batch: a second one would be answered behind one that never comes. */
  assert_int_equal(publish_array(w, 0, 10), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(publish_array(w, 10, 1000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 1010);
  expect_told(w, 1010);
  for (size_t i = 0; i < w->told_count; i++)
    assert_int_equal(w->told[i].sequence, w->told[i].tag);
  assert_int_equal(counters(w).resent, 0);
}

/* ---- too large for the store ---- */

static void take_few(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                     struct store_reply *reply) {
  const struct world *w = arg;
  (void)number;
  if (batch->n_events > w->limit)
    *reply = (struct store_reply){
        .action = STORE_REFUSE, .code = AUDITSTORE_INVALID_ARGUMENT, .field = "events"};
}

static void a_batch_of_too_many_is_halved_and_so_are_those_to_come(void **state) {
  struct world *w = *state;
  w->script = take_few;
  w->limit = 100;
  w->options.max_in_flight = 1;
  start(w);
  assert_int_equal(publish_array(w, 0, 5000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 5000);
  expect_told(w, 5000);
  uint64_t halved = counters(w).halved;
  assert_in_range(halved, 1, 100);
  assert_int_equal(publish_array(w, 5000, 5000), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(counters(w).halved, halved);
  expect_stored_in_order(w, 10000);
}

static void take_short(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                       struct store_reply *reply) {
  const struct world *w = arg;
  (void)number;
  if (auditstore__v1__stream_events_request__get_packed_size(batch) > w->limit)
    *reply = (struct store_reply){.action = STORE_END, .code = AUDITSTORE_RESOURCE_EXHAUSTED};
}

static void a_message_above_the_stores_limit_is_halved(void **state) {
  struct world *w = *state;
  w->script = take_short;
  w->limit = 10000;
  start(w);
  assert_int_equal(publish_array(w, 0, 2000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 2000);
  expect_told(w, 2000);
  assert_in_range(counters(w).halved, 1, 1000);
}

static void an_event_above_the_stores_limit_is_rejected_alone(void **state) {
  struct world *w = *state;
  struct event e;
  char *large = malloc(100001);
  memset(large, ' ', 100000);
  large[100000] = '\0';
  w->script = take_short;
  w->limit = 70000;
  start(w);
  publish_range(w, 0, 3);
  event_init(&e, 99);
  e.event.event_data = large;
  assert_int_equal(auditstore_publisher_publish(w->publisher, &e.event, 99, NULL), AUDITSTORE_OK);
  publish_range(w, 3, 6);
  flush_all(w);
  expect_stored_in_order(w, 6);
  assert_int_equal(counters(w).rejected, 1);
  free(large);
}

/* ---- refused for good ---- */

static void expect_third_rejected(struct world *w) {
  size_t rejected = 0;
  flush_all(w);
  assert_int_equal(store_server_stored(w->server), 19);
  assert_int_equal(w->told_count, 20);
  for (size_t i = 0; i < 20; i++) {
    assert_int_equal(w->told[i].code == AUDITSTORE_ALREADY_EXISTS, w->told[i].tag == 3);
    rejected += w->told[i].code == AUDITSTORE_ALREADY_EXISTS;
  }
  assert_int_equal(rejected, 1);
  assert_int_equal(counters(w).rejected, 1);
  assert_int_equal(counters(w).acknowledged, 19);
}

static void a_bad_event_does_not_hurt_its_neighbours(void **state) {
  struct world *w = *state;
  w->script = reject_third;
  start(w);
  assert_int_equal(publish_array(w, 0, 20), AUDITSTORE_OK);
  expect_third_rejected(w);
  assert_int_equal(store_server_batches(w->server), 1);
}

static void a_batch_refused_for_good_is_halved_down_to_the_bad_event(void **state) {
  struct world *w = *state;
  w->script = reject_third;
  w->limit = 1;
  start(w);
  assert_int_equal(publish_array(w, 0, 20), AUDITSTORE_OK);
  expect_third_rejected(w);
}

/* ---- trouble ---- */

static void refuse_every_third(void *arg, size_t number,
                               const Auditstore__V1__StreamEventsRequest *batch,
                               struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number % 3 == 1)
    *reply = (struct store_reply){
        .action = STORE_REFUSE, .code = (enum auditstore_code)w->limit, .retry_ms = 1};
}

static void check_waited_out(struct world *w, enum auditstore_code code) {
  w->script = refuse_every_third;
  w->limit = code;
  w->options.max_batch_events = 20;
  w->options.max_in_flight = 1;
  start(w);
  assert_int_equal(publish_array(w, 0, 500), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 500);
  expect_told(w, 500);
  assert_int_equal(counters(w).duplicates, 0);
  assert_int_equal(counters(w).last_code, code);
  assert_string_equal(counters(w).last_message, "as the test says");
}

static void a_refusal_for_the_time_being_is_waited_out(void **state) {
  check_waited_out(*state, AUDITSTORE_UNAVAILABLE);
}

static void a_full_store_is_waited_out(void **state) {
  check_waited_out(*state, AUDITSTORE_RESOURCE_EXHAUSTED);
}

static void what_an_operator_can_mend_is_waited_out(void **state) {
  check_waited_out(*state, AUDITSTORE_PERMISSION_DENIED);
}

/* Refuses the batch of event 10 twice, and counts what comes in between. */
static void refuse_tenth_twice(void *arg, size_t number,
                               const Auditstore__V1__StreamEventsRequest *batch,
                               struct store_reply *reply) {
  struct world *w = arg;
  bool is_tenth = strcmp(batch->events[0]->event_type, "10") == 0;
  (void)number;
  if (is_tenth && w->limit < 2)
    *reply =
        (struct store_reply){.action = STORE_REFUSE, .code = AUDITSTORE_UNAVAILABLE, .retry_ms = 1};
  w->calls += !is_tenth && w->limit == 2;
  w->limit += is_tenth;
}

static void after_a_refusal_one_batch_at_a_time_is_sent(void **state) {
  struct world *w = *state;
  w->script = refuse_tenth_twice;
  w->options.max_batch_events = 10;
  start(w);
  assert_int_equal(publish_array(w, 0, 10), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(publish_array(w, 10, 500), AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(w->limit, 3);
  assert_int_equal(w->calls, 0);
  expect_told(w, 510);
}

static void refuse_first_for_long(void *arg, size_t number,
                                  const Auditstore__V1__StreamEventsRequest *batch,
                                  struct store_reply *reply) {
  (void)arg;
  (void)batch;
  if (number == 0)
    *reply = (struct store_reply){
        .action = STORE_REFUSE, .code = AUDITSTORE_UNAVAILABLE, .retry_ms = 900};
}

static void the_stores_advice_when_to_come_back_is_followed(void **state) {
  struct world *w = *state;
  struct timespec began;
  struct timespec ended;
  w->script = refuse_first_for_long;
  start(w);
  clock_gettime(CLOCK_MONOTONIC, &began);
  publish_range(w, 0, 1);
  flush_all(w);
  clock_gettime(CLOCK_MONOTONIC, &ended);
  assert_true((ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000 >=
              899);
}

/* One batch in seven brings the connection down, with its events stored or not. */
static void drop_some(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                      struct store_reply *reply) {
  struct world *w = arg;
  (void)batch;
  if (number % 7 == 3 && w->calls++ < 12)
    reply->action = number % 2 ? STORE_DROP : STORE_DROP_TAKEN;
}

static void a_lost_stream_is_made_anew_and_all_is_sent_again_in_order(void **state) {
  struct world *w = *state;
  w->script = drop_some;
  w->options.max_batch_events = 10;
  start(w);
  assert_int_equal(publish_array(w, 0, 3000), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 3000);
  expect_told(w, 3000);
  struct auditstore_publisher_counters c = counters(w);
  assert_int_equal(c.acknowledged, 3000);
  assert_true(c.duplicates > 0);
  assert_true(c.resent > 0);
  assert_int_equal(c.reconnects, 12);
}

static void a_store_that_was_away_gets_everything_in_order(void **state) {
  struct world *w = *state;
  start(w);
  publish_range(w, 0, 100);
  flush_all(w);
  store_server_leave(w->server);
  publish_range(w, 100, 5000);
  WAIT_FOR(counters(w).last_code == AUDITSTORE_UNAVAILABLE);
  assert_int_equal(counters(w).unconfirmed, 4900);
  assert_true(counters(w).oldest_unconfirmed_ms >= 0);
  store_server_return(w->server);
  flush_all(w);
  expect_stored_in_order(w, 5000);
  expect_told(w, 5000);
}

static void be_odd_once(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                        struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number == 0)
    reply->action = (enum store_action)w->limit;
}

static void check_survived(struct world *w, enum store_action action) {
  w->script = be_odd_once;
  w->limit = action;
  w->options.answer_timeout_ms = 100;
  start(w);
  assert_int_equal(publish_array(w, 0, 50), AUDITSTORE_OK);
  flush_all(w);
  expect_stored_in_order(w, 50);
  expect_told(w, 50);
}

static void a_store_that_does_not_answer_is_asked_anew(void **state) {
  check_survived(*state, STORE_IGNORE);
}

static void an_answer_without_sense_settles_nothing(void **state) {
  check_survived(*state, STORE_NONSENSE);
}

static void an_event_that_the_answer_leaves_out_is_sent_again(void **state) {
  check_survived(*state, STORE_FORGET);
}

static void a_store_that_ends_the_call_is_asked_anew(void **state) {
  check_survived(*state, STORE_END);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(events_are_stored_in_order_and_told_with_their_place),
      TEST(what_an_event_lacks_is_filled_and_what_it_has_is_kept),
      TEST(an_array_is_taken_whole_or_not_at_all),
      TEST(what_no_store_takes_is_refused_at_once),
      TEST(batches_are_bounded_by_events),
      TEST(batches_are_bounded_by_bytes),
      TEST(what_comes_while_all_is_in_flight_is_one_batch),
      TEST(several_batches_are_in_flight),
      TEST(answers_may_come_in_another_order),
      TEST(a_batch_of_too_many_is_halved_and_so_are_those_to_come),
      TEST(a_message_above_the_stores_limit_is_halved),
      TEST(an_event_above_the_stores_limit_is_rejected_alone),
      TEST(a_bad_event_does_not_hurt_its_neighbours),
      TEST(a_batch_refused_for_good_is_halved_down_to_the_bad_event),
      TEST(a_refusal_for_the_time_being_is_waited_out),
      TEST(a_full_store_is_waited_out),
      TEST(what_an_operator_can_mend_is_waited_out),
      TEST(after_a_refusal_one_batch_at_a_time_is_sent),
      TEST(the_stores_advice_when_to_come_back_is_followed),
      TEST(a_lost_stream_is_made_anew_and_all_is_sent_again_in_order),
      TEST(a_store_that_was_away_gets_everything_in_order),
      TEST(a_store_that_does_not_answer_is_asked_anew),
      TEST(an_answer_without_sense_settles_nothing),
      TEST(an_event_that_the_answer_leaves_out_is_sent_again),
      TEST(a_store_that_ends_the_call_is_asked_anew),
  };
  return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
