/*
 * The handlers of GetEvent and ListEvents, called as the server calls them. The few functions of
 * grpc/server.h that they use are this file's own, so that a test sees each answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/access.h"
#include "query/service.h"
#include "support/query_fixture.h"

/* ---- a call as the test sees it ---- */

struct grpc_message {
  int releases;
  size_t held_bytes;
  size_t room_bytes; /* 0: any */
};

struct grpc_call {
  struct grpc_message message;
  int64_t deadline_us;
  const char *principal;
  struct grpc_call_events events;
  void *events_arg;
  ProtobufCMessage *sent; /* a copy */
  int sends;
  bool is_finished;
  enum grpc_code code;
  int details;
};

void grpc_call_send(struct grpc_call *call, const ProtobufCMessage *response) {
  size_t size = protobuf_c_message_get_packed_size(response);
  uint8_t *bytes = malloc(size + 1);
  protobuf_c_message_pack(response, bytes);
  call->sent = protobuf_c_message_unpack(response->descriptor, NULL, size, bytes);
  assert_non_null(call->sent);
  call->sends++;
  free(bytes);
}

void grpc_call_finish(struct grpc_call *call, struct grpc_status *status) {
  assert_false(call->is_finished);
  call->is_finished = true;
  call->code = status ? grpc_status_code(status) : GRPC_OK;
  call->details = status ? (int)grpc_status_proto(status)->n_details : 0;
  grpc_status_free(status);
}

int64_t grpc_call_deadline_us(const struct grpc_call *call) {
  return call->deadline_us;
}

void grpc_call_set_events(struct grpc_call *call, const struct grpc_call_events *events,
                          void *arg) {
  call->events = *events;
  call->events_arg = arg;
}

struct str access_principal(const struct grpc_call *call) {
  return str_z(call->principal ? call->principal : "");
}

void grpc_message_release(struct grpc_message *message) {
  message->releases++;
}

bool grpc_message_hold(struct grpc_message *message, size_t bytes) {
  if (message->room_bytes > 0 && message->held_bytes + bytes > message->room_bytes)
    return false;
  message->held_bytes += bytes;
  return true;
}

static struct grpc_call new_call(void) {
  return (struct grpc_call){.deadline_us = CLOCK_NEVER};
}

/* Every call ends once, and its message is given back once. */
static void end_call(struct pg_fixture *f, struct grpc_call *call) {
  pg_fixture_run_until(f, &call->is_finished);
  assert_int_equal(call->message.releases, 1);
  assert_true(call->sends <= 1);
}

static void free_call(struct grpc_call *call) {
  protobuf_c_message_free_unpacked(call->sent, NULL);
}

/* ---- the service ---- */

struct world {
  struct pg_fixture f;
  struct config_query config;
  struct query_service *service;
  struct auditstore_v1_audit_store_handlers handlers;
};

static void get(struct world *w, struct grpc_call *call, const char *id) {
  Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
  request.event_id = (ProtobufCBinaryData){.len = strlen(id), .data = (uint8_t *)id};
  w->handlers.get_event.handle(w->handlers.get_event.service, call, &request, &call->message);
  end_call(&w->f, call);
}

#define KNOWN_ID "c4ca4238-a0b9-2382-0dcc-509a6f75849b" /* md5 of "1" */

static void get_event_answers_with_the_event(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  get(w, &call, KNOWN_ID);
  assert_int_equal(call.code, GRPC_OK);
  Auditstore__V1__GetEventResponse *response = (Auditstore__V1__GetEventResponse *)call.sent;
  assert_memory_equal(response->event->event->event_id.data, KNOWN_ID, UUID_TEXT_LEN);
  assert_int_equal(response->event->sequence, 1);
  free_call(&call);
}

static void get_event_names_what_is_not_there(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  get(w, &call, "11111111-2222-3333-4444-555555555555");
  assert_int_equal(call.code, GRPC_NOT_FOUND);
  assert_int_equal(call.details, 1);
  assert_int_equal(call.sends, 0);
}

static void get_event_refuses_what_is_no_id(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  get(w, &call, "nonsense");
  assert_int_equal(call.code, GRPC_INVALID_ARGUMENT);
  assert_int_equal(call.details, 1);
  assert_int_equal(call.sends, 0);
}

static void list_events_answers_with_a_page(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 7;
  w->handlers.list_events.handle(w->service, &call, &request, &call.message);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_OK);
  Auditstore__V1__ListEventsResponse *response = (Auditstore__V1__ListEventsResponse *)call.sent;
  assert_int_equal(response->n_events, 7);
  assert_int_equal(response->next_page_token.len, PAGE_TOKEN_TEXT_LEN);
  free_call(&call);
}

static void list_events_refuses_a_bad_request(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = -7;
  w->handlers.list_events.handle(w->service, &call, &request, &call.message);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_INVALID_ARGUMENT);
}

/* A lock makes every query wait, for as long as the test likes. */
#define LOCK_EVENTS "BEGIN; LOCK TABLE audit_events"

/* What is asked for as it goes to PostgreSQL is kept until it is the query's turn. */
static void a_question_is_counted_while_it_waits(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  ProtobufCBinaryData values[FILTER_MAX_VALUES];
  char text[255];
  memset(text, 'x', sizeof(text));
  for (int i = 0; i < FILTER_MAX_VALUES; i++)
    values[i] = (ProtobufCBinaryData){.len = sizeof(text), .data = (uint8_t *)text};
  filter.n_actor_ids = FILTER_MAX_VALUES;
  filter.actor_ids = values;
  request.filter = &filter;
  w->handlers.list_events.handle(w->service, &call, &request, &call.message);
  assert_in_range(call.message.held_bytes, sizeof(text) * FILTER_MAX_VALUES, 100000);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_OK);
  free_call(&call);
  call = new_call();
  call.message.room_bytes = sizeof(text) * FILTER_MAX_VALUES;
  w->handlers.list_events.handle(w->service, &call, &request, &call.message);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_RESOURCE_EXHAUSTED);
}

static void start_list(struct world *w, struct grpc_call *call) {
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  w->handlers.list_events.handle(w->service, call, &request, &call->message);
}

static void a_query_ends_at_the_configured_timeout(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  w->config.timeout_us = 50000;
  pg_observer_run(w->f.observer, LOCK_EVENTS);
  start_list(w, &call);
  end_call(&w->f, &call);
  pg_observer_run(w->f.observer, "ROLLBACK");
  assert_int_equal(call.code, GRPC_DEADLINE_EXCEEDED);
}

static void a_query_ends_at_the_deadline_of_its_call(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  call.deadline_us = clock_monotonic_us(&w->f.clock) + 50000;
  pg_observer_run(w->f.observer, LOCK_EVENTS);
  start_list(w, &call);
  end_call(&w->f, &call);
  pg_observer_run(w->f.observer, "ROLLBACK");
  assert_int_equal(call.code, GRPC_DEADLINE_EXCEEDED);
}

static int queries_running(const struct world *w) {
  struct query_stats stats;
  query_service_stats(w->service, &stats);
  return stats.turns.running[TURN_INDEXED] + stats.turns.running[TURN_UNINDEXED];
}

static void a_cancelled_call_keeps_its_turn_until_postgresql_is_done_with_it(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  struct pg_pool_stats stats;
  pg_observer_run(w->f.observer, LOCK_EVENTS);
  start_list(w, &call);
  pg_fixture_wait_for(&w->f, PG_FIXTURE_WAITING, 1);
  call.events.on_cancel(call.events_arg);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_CANCELLED);
  assert_int_equal(queries_running(w), 1);
  pg_observer_run(w->f.observer, "ROLLBACK");
  while (queries_running(w) > 0)
    uv_run(&w->f.uv, UV_RUN_ONCE);
  pg_pool_stats(w->f.pool, &stats);
  assert_int_equal(stats.in_use, 0);
  assert_int_equal(call.sends, 0);
}

static void a_call_cancelled_before_it_has_a_connection_needs_none(void **state) {
  struct world *w = *state;
  struct grpc_call call = new_call();
  start_list(w, &call);
  call.events.on_cancel(call.events_arg);
  end_call(&w->f, &call);
  assert_int_equal(call.code, GRPC_CANCELLED);
}

static void many_calls_at_once_are_all_answered(void **state) {
  struct world *w = *state;
  struct grpc_call calls[60];
  for (int i = 0; i < 60; i++) {
    calls[i] = new_call();
    start_list(w, &calls[i]);
  }
  for (int i = 0; i < 60; i++) {
    end_call(&w->f, &calls[i]);
    assert_int_equal(calls[i].code, GRPC_OK);
    free_call(&calls[i]);
  }
}

/* ---- frame ---- */

static int setup(void **state) {
  struct world *w = *state;
  query_fixture_open(&w->f);
  w->config = query_fixture_config;
  w->service = query_service_new(&w->f.loop, w->f.pool, &w->config);
  query_service_fill(w->service, &w->handlers);
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  query_service_free(w->service);
  pg_fixture_close(&w->f);
  return 0;
}

static int start_server(void **state) {
  static struct world world;
  pg_fixture_start(&world.f);
  *state = &world;
  return 0;
}

static int remove_server(void **state) {
  struct world *w = *state;
  pg_fixture_remove(&w->f);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(get_event_answers_with_the_event),
      TEST(get_event_names_what_is_not_there),
      TEST(get_event_refuses_what_is_no_id),
      TEST(list_events_answers_with_a_page),
      TEST(list_events_refuses_a_bad_request),
      TEST(a_question_is_counted_while_it_waits),
      TEST(a_query_ends_at_the_configured_timeout),
      TEST(a_query_ends_at_the_deadline_of_its_call),
      TEST(a_cancelled_call_keeps_its_turn_until_postgresql_is_done_with_it),
      TEST(a_call_cancelled_before_it_has_a_connection_needs_none),
      TEST(many_calls_at_once_are_all_answered),
  };
  return cmocka_run_group_tests(tests, start_server, remove_server);
}
