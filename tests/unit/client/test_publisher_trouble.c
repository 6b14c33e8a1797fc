/* The publisher and stores that are short of memory, or make no sense. */
#include "publisher_fixture.h"

/* ---- short of memory ---- */

static const Auditstore__V1__AuditEvent *large_event_init(struct event *e, uint64_t number) {
  static char large[100001];
  memset(large, ' ', sizeof(large) - 1);
  event_init(e, number);
  e->event.event_data = large;
  return &e->event;
}

static void end_some(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                     struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number < w->limit)
    *reply = (struct store_reply){.action = STORE_END, .code = AUDITSTORE_RESOURCE_EXHAUSTED};
}

/* A store short of memory says the same as one that finds the message too large. */
static void a_large_event_outlives_a_store_that_is_short_of_memory(void **state) {
  struct world *w = *state;
  struct event e;
  w->script = end_some;
  w->limit = 3;
  start(w);
  assert_int_equal(auditstore_publisher_publish(w->publisher, large_event_init(&e, 0), 0, NULL),
                   AUDITSTORE_OK);
  publish_range(w, 1, 3);
  flush_all(w);
  assert_int_equal(counters(w).rejected, 0);
  expect_stored_in_order(w, 3);
}

/* The large one is refused for the time being; then the stream ends because of the small one. */
static void end_behind_large(void *arg, size_t number,
                             const Auditstore__V1__StreamEventsRequest *batch,
                             struct store_reply *reply) {
  const struct world *w = arg;
  (void)batch;
  if (number == w->limit)
    *reply = (struct store_reply){
        .action = STORE_REFUSE, .code = AUDITSTORE_UNAVAILABLE, .retry_ms = 500};
  if (number == w->limit + 1)
    *reply = (struct store_reply){.action = STORE_END, .code = AUDITSTORE_RESOURCE_EXHAUSTED};
}

static void a_large_event_is_not_blamed_for_another_one(void **state) {
  struct world *w = *state;
  struct event e;
  w->script = end_behind_large;
  w->limit = 1;
  w->options.max_batch_events = 1;
  start(w);
  publish_range(w, 0, 1);
  flush_all(w);
  large_event_init(&e, 1);
  struct event small;
  const Auditstore__V1__AuditEvent *events[] = {&e.event, event_init(&small, 2)};
  assert_int_equal(auditstore_publisher_publish_all(w->publisher, events, NULL, 2, NULL),
                   AUDITSTORE_OK);
  flush_all(w);
  assert_int_equal(counters(w).rejected, 0);
  assert_int_equal(store_server_stored(w->server), 3);
}

/* ---- without sense ---- */

static void always_be_odd(void *arg, size_t number,
                          const Auditstore__V1__StreamEventsRequest *batch,
                          struct store_reply *reply) {
  const struct world *w = arg;
  (void)number;
  (void)batch;
  reply->action = (enum store_action)w->limit;
}

/* Three pauses, each longer than the one before, take less than a second. */
static void check_paused(struct world *w, enum store_action action) {
  w->script = always_be_odd;
  w->limit = action;
  start(w);
  publish_range(w, 0, 1);
  assert_int_equal(auditstore_publisher_flush(w->publisher, 1000), 1);
  assert_true(counters(w).batches <= 5);
}

static void a_store_that_answers_without_sense_is_given_time(void **state) {
  check_paused(*state, STORE_NONSENSE);
}

static void a_store_that_answers_what_was_not_asked_is_given_time(void **state) {
  check_paused(*state, STORE_STRANGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_large_event_outlives_a_store_that_is_short_of_memory),
      TEST(a_large_event_is_not_blamed_for_another_one),
      TEST(a_store_that_answers_without_sense_is_given_time),
      TEST(a_store_that_answers_what_was_not_asked_is_given_time),
  };
  return cmocka_run_group_tests_name("publisher_trouble", tests, NULL, NULL);
}
