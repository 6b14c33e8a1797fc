/* Flow control, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/echo_server.h"

#define KIB    ((size_t)1024)
#define WINDOW (256 * KIB)

static int setup(void **state) {
  echo_setup(state);
  struct echo_server *e = *state;
  e->config.stream_window_bytes = (int64_t)WINDOW;
  e->config.connection_window_bytes = (int64_t)(4 * WINDOW);
  echo_server_start(e);
  return 0;
}

/* A packed echo message of `len` bytes of text; free() it. */
static uint8_t *big_message(size_t text_len, size_t *ret_len) {
  Grpc__Health__V1__HealthCheckRequest m = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  uint8_t *text = calloc(1, text_len);
  assert_non_null(text);
  m.service.data = text;
  m.service.len = text_len;
  *ret_len = grpc__health__v1__health_check_request__get_packed_size(&m);
  uint8_t *packed = malloc(*ret_len);
  assert_non_null(packed);
  grpc__health__v1__health_check_request__pack(&m, packed);
  free(text);
  return packed;
}

static void send_big(struct h2_client *client, struct h2_stream *s, size_t text_len, int count,
                     bool end) {
  size_t len = 0;
  uint8_t *packed = big_message(text_len, &len);
  for (int i = 0; i < count; i++)
    h2_client_send_message(client, s, packed, len, end && i + 1 == count);
  free(packed);
}

static void unary_message_larger_than_the_window_arrives(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  send_big(client, s, 3 * KIB * KIB, 1, true);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(echo_answer(s, 0).len, 3 * KIB * KIB);
}

static void
streamed_messages_larger_than_the_window_arrive_while_earlier_ones_are_held(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  e->holds_messages = true;
  send_big(client, s, KIB * KIB, 3, true);
  for (int i = 1; i <= 3; i++) {
    while (e->messages < i)
      echo_server_step(e);
    echo_server_settle(e);
    assert_int_equal(e->messages, i);
    echo_server_release(e);
  }
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
}

static void handler_that_holds_messages_stalls_only_its_stream(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  e->holds_messages = true;
  send_big(client, s, 10000, 200, true);
  echo_server_settle(e);
  assert_true(buf_len(&s->out) > 1000000);
  assert_true(e->held_bytes <= WINDOW);
  assert_true(e->held_bytes >= WINDOW / 2);

  struct h2_stream *other = echo_call(e, ECHO_UNARY, NULL, "not stalled");
  assert_int_equal(other->grpc_status, GRPC_OK);

  while (e->messages < 200) {
    echo_server_release(e);
    echo_server_step(e);
  }
  echo_server_release(e);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
}

static void messages_of_many_frames_held_are_bounded_by_window_and_one_message(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  e->holds_messages = true;
  send_big(client, s, 100000, 40, true);
  echo_server_settle(e);
  assert_true(e->held_bytes <= WINDOW + 100010);
  while (e->messages < 40) {
    echo_server_release(e);
    echo_server_step(e);
  }
  echo_server_release(e);
  echo_wait_closed(e, s);
}

static void many_stalled_streams_leave_the_connection_window_open(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *streams[10];
  e->holds_messages = true;
  for (size_t i = 0; i < 10; i++) {
    streams[i] = h2_client_open(client, ECHO_BIDI, NULL, false);
    send_big(client, streams[i], 10000, 40, true);
  }
  echo_server_settle(e);
  assert_true(e->held_bytes > 4 * WINDOW);
  struct h2_stream *other = echo_call(e, ECHO_UNARY, NULL, "not stalled");
  assert_int_equal(other->grpc_status, GRPC_OK);
  while (e->messages < 400) {
    echo_server_release(e);
    echo_server_step(e);
  }
  echo_server_release(e);
  for (size_t i = 0; i < 10; i++) {
    while (!streams[i]->is_closed)
      echo_server_step(e);
  }
}

static void cancelled_uploads_give_their_window_back(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  e->holds_messages = true;
  for (int i = 0; i < 20; i++) {
    struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
    send_big(client, s, 150000, 4, false);
    echo_server_settle(e);
    h2_client_reset(client, s, NGHTTP2_CANCEL);
    while (e->cancels <= i)
      echo_server_step(e);
    echo_server_release(e);
  }
  e->holds_messages = false;
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  send_big(client, s, 3 * KIB * KIB, 1, true);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
}

static void messages_released_after_the_call_are_fine(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  e->holds_messages = true;
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  send_big(client, s, 1000, 3, true);
  echo_wait_closed(e, s);
  assert_int_equal(e->held_count, 3);
  echo_server_release(e);
}

static void answers_wait_for_a_peer_that_does_not_read(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  e->stream_count = 500;
  e->stream_size = 10000;
  e->waits_writable = true;
  h2_client_set_reading(client, false);
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  echo_server_settle(e);
  /* 256 KiB may wait, 64 KiB is the peer's window, and one message passes the mark. */
  assert_true(e->sent * 10000 < (256 + 64 + 20) * KIB);
  assert_true(e->sent * 10000 > 256 * KIB);
  assert_int_equal(buf_len(&s->body), 65535);

  h2_client_set_reading(client, true);
  nghttp2_session_consume(h2_client_session(client), s->id, 65535);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(h2_stream_message_count(s), 500);
  assert_true(e->writables > 0);
}

static void trailers_come_behind_data_that_waited_for_window(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 10);
  h2_client_set_reading(client, false);
  struct h2_stream *s = h2_client_open(client, ECHO_UNARY, NULL, false);
  struct str packed = echo_pack("an answer that is longer than the window");
  h2_client_send_message(client, s, packed.data, packed.len, true);
  echo_server_settle(e);
  assert_int_equal(e->finished, 1);
  assert_int_equal(buf_len(&s->body), 10);
  assert_int_equal(s->grpc_status, -1);
  nghttp2_submit_window_update(h2_client_session(client), NGHTTP2_FLAG_NONE, s->id, 1000);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_int_equal(echo_answer(s, 0).len, 40);
}

static void endless_stream_does_not_starve_its_neighbours(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 1 << 20);
  e->stream_count = 2000;
  e->stream_size = 10000;
  e->waits_writable = true;
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  while (buf_len(&s->body) == 0)
    echo_server_step(e);
  struct h2_stream *other = echo_call(e, ECHO_UNARY, NULL, "quick");
  assert_int_equal(other->grpc_status, GRPC_OK);
  assert_false(s->is_closed);
  echo_wait_closed(e, s);
  assert_int_equal(h2_stream_message_count(s), 2000);
}

static void queue_beyond_all_measure_ends_the_call(void **state) {
  struct echo_server *e = *state;
  struct h2_client *client = echo_server_connect(e, 0);
  h2_client_set_reading(client, false);
  e->stream_count = 80;
  e->stream_size = KIB * KIB;
  struct h2_stream *s = h2_client_open(client, ECHO_SERVER_STREAM, NULL, false);
  h2_client_send(client, s, "\0\0\0\0\0", 5, true);
  echo_wait_closed(e, s);
  assert_int_equal(s->grpc_status, GRPC_RESOURCE_EXHAUSTED);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(unary_message_larger_than_the_window_arrives),
      CASE(streamed_messages_larger_than_the_window_arrive_while_earlier_ones_are_held),
      CASE(handler_that_holds_messages_stalls_only_its_stream),
      CASE(messages_of_many_frames_held_are_bounded_by_window_and_one_message),
      CASE(many_stalled_streams_leave_the_connection_window_open),
      CASE(cancelled_uploads_give_their_window_back),
      CASE(messages_released_after_the_call_are_fine),
      CASE(answers_wait_for_a_peer_that_does_not_read),
      CASE(trailers_come_behind_data_that_waited_for_window),
      CASE(endless_stream_does_not_starve_its_neighbours),
      CASE(queue_beyond_all_measure_ends_the_call),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
