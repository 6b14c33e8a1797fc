#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/echo_server.h"

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"
#define LIST  "/grpc.health.v1.Health/List"

enum {
  SERVING = 1,
  NOT_SERVING = 2,
  SERVICE_UNKNOWN = 3,
};

/* The status in the `index`th answer. */
static int status_of(const struct h2_stream *s, size_t index) {
  struct str body = h2_stream_message(s, index);
  assert_non_null(body.data);
  Grpc__Health__V1__HealthCheckResponse *response =
      grpc__health__v1__health_check_response__unpack(NULL, body.len, (const uint8_t *)body.data);
  assert_non_null(response);
  int status = (int)response->status;
  grpc__health__v1__health_check_response__free_unpacked(response, NULL);
  return status;
}

static void assert_check(struct echo_server *e, const char *service, int status) {
  struct h2_stream *s = echo_call(e, CHECK, NULL, service);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(status_of(s, 0), status);
}

static struct h2_stream *open_watch(struct echo_server *e, const char *service) {
  struct h2_client *client = e->clients[e->client_count - 1];
  struct h2_stream *s = h2_client_open(client, WATCH, NULL, false);
  struct str packed = echo_pack(service);
  h2_client_send_message(client, s, packed.data, packed.len, true);
  while (h2_stream_message_count(s) == 0)
    echo_server_step(e);
  return s;
}

static void wait_messages(struct echo_server *e, const struct h2_stream *s, size_t count) {
  while (h2_stream_message_count(s) < count)
    echo_server_step(e);
}

static void a_server_not_open_yet_answers_health_alone(void **state) {
  struct echo_server *e = *state;
  e->is_shut = true;
  echo_server_start(e);
  echo_server_connect(e, 0);
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_trailers_only(s, GRPC_UNAVAILABLE);
  assert_int_equal(e->unary_calls, 0);
  assert_check(e, "", NOT_SERVING);
  grpc_server_open(e->server);
  echo_assert_serving(e);
}

static void check_follows_what_was_set(void **state) {
  struct echo_server *e = *state;
  assert_check(e, "", NOT_SERVING);
  grpc_server_set_serving(e->server, true);
  assert_check(e, "", SERVING);
  assert_check(e, "test.Echo", SERVING);
  assert_check(e, "grpc.health.v1.Health", SERVING);
  grpc_server_set_serving(e->server, false);
  assert_check(e, "test.Echo", NOT_SERVING);
}

static void check_of_an_unknown_service_is_not_found(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call(e, CHECK, NULL, "no.Such");
  assert_int_equal(s->grpc_status, GRPC_NOT_FOUND);
  assert_int_equal(h2_stream_message_count(s), 0);
}

static void watch_tells_the_status_now_and_each_change(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = open_watch(e, "test.Echo");
  assert_int_equal(status_of(s, 0), NOT_SERVING);
  grpc_server_set_serving(e->server, true);
  wait_messages(e, s, 2);
  assert_int_equal(status_of(s, 1), SERVING);
  grpc_server_set_serving(e->server, true);
  echo_server_settle(e);
  assert_int_equal(h2_stream_message_count(s), 2);
  grpc_server_set_serving(e->server, false);
  wait_messages(e, s, 3);
  assert_int_equal(status_of(s, 2), NOT_SERVING);
  assert_false(s->is_closed);
}

static void watch_of_an_unknown_service_says_so_and_stays(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = open_watch(e, "no.Such");
  assert_int_equal(status_of(s, 0), SERVICE_UNKNOWN);
  grpc_server_set_serving(e->server, true);
  echo_server_settle(e);
  assert_int_equal(h2_stream_message_count(s), 1);
  assert_false(s->is_closed);
}

static void watchers_that_leave_are_forgotten(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = open_watch(e, "");
  h2_client_reset(e->clients[0], s, NGHTTP2_CANCEL);
  echo_server_connect(e, 0);
  open_watch(e, "");
  h2_client_free(e->clients[1]);
  e->client_count = 1;
  echo_server_settle(e);
  grpc_server_set_serving(e->server, true);
  assert_check(e, "", SERVING);
}

static void list_names_every_service(void **state) {
  struct echo_server *e = *state;
  grpc_server_set_serving(e->server, true);
  struct h2_stream *s = echo_call(e, LIST, NULL, "");
  struct str body = h2_stream_message(s, 0);
  assert_int_equal(s->grpc_status, GRPC_OK);
  Grpc__Health__V1__HealthListResponse *list =
      grpc__health__v1__health_list_response__unpack(NULL, body.len, (const uint8_t *)body.data);
  assert_non_null(list);
  assert_int_equal(list->n_statuses, 3);
  bool has_echo = false;
  for (size_t i = 0; i < list->n_statuses; i++) {
    has_echo = has_echo || strcmp(list->statuses[i]->key, "test.Echo") == 0;
    assert_int_equal(list->statuses[i]->value->status, SERVING);
  }
  assert_true(has_echo);
  grpc__health__v1__health_list_response__free_unpacked(list, NULL);
}

static void watchers_hear_of_a_drain_and_end(void **state) {
  struct echo_server *e = *state;
  grpc_server_set_serving(e->server, true);
  struct h2_stream *s = open_watch(e, "");
  struct h2_stream *unknown = open_watch(e, "no.Such");
  echo_server_drain(e, 15000000);
  grpc_server_set_serving(e->server, true);
  while (!s->is_closed || !unknown->is_closed)
    echo_server_step(e);
  assert_int_equal(h2_stream_message_count(s), 2);
  assert_int_equal(status_of(s, 1), NOT_SERVING);
  assert_int_equal(s->grpc_status, GRPC_UNAVAILABLE);
  assert_int_equal(unknown->grpc_status, GRPC_UNAVAILABLE);
  while (!e->is_drained)
    echo_server_step(e);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup_connected, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(check_follows_what_was_set),
      CASE(check_of_an_unknown_service_is_not_found),
      CASE(watch_tells_the_status_now_and_each_change),
      CASE(watch_of_an_unknown_service_says_so_and_stays),
      CASE(watchers_that_leave_are_forgotten),
      CASE(list_names_every_service),
      CASE(watchers_hear_of_a_drain_and_end),
      cmocka_unit_test_setup_teardown(a_server_not_open_yet_answers_health_alone, echo_setup,
                                      echo_teardown),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
