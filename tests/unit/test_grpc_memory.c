/* What one connection, and all together, may make the server keep in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <malloc.h>

#include "grpc/memory.h"
#include "grpc/server_private.h"
#include "support/echo_server.h"

#define SECOND_US INT64_C(1000000)
/* With its prefix, and two numbers of its field: a frame of HTTP/2 as large as they are by default.
 */
#define FRAME_MESSAGE_BYTES ((size_t)16384 - 5 - 4)
#define KIB                 ((size_t)1024)
#define MIB                 (1024 * KIB)

static struct grpc_server_stats stats_of(const struct echo_server *e) {
  struct grpc_server_stats stats;
  grpc_server_stats(e->server, &stats);
  return stats;
}

static size_t inbound_of(const struct echo_server *e) {
  struct grpc_server_stats stats = stats_of(e);
  size_t bytes = 0;
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    bytes += (size_t)stats.memory[i];
  return bytes;
}

/* `len` bytes of a message that says it has `stated`; zeros are unknown fields or none. */
static void send_part(struct h2_client *client, struct h2_stream *s, size_t stated, size_t len) {
  uint8_t *bytes = calloc(1, 5 + len);
  assert_non_null(bytes);
  for (size_t i = 0; i < 4; i++)
    bytes[1 + i] = (uint8_t)(stated >> (24 - 8 * i));
  h2_client_send(client, s, bytes, 5 + len, false);
  free(bytes);
}

static void send_messages(struct h2_client *client, struct h2_stream *s, size_t len, int count) {
  Grpc__Health__V1__HealthCheckRequest m = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  m.service.data = calloc(1, len);
  m.service.len = len;
  uint8_t *packed = malloc(len + 16);
  assert_non_null(packed);
  size_t packed_len = grpc__health__v1__health_check_request__pack(&m, packed);
  for (int i = 0; i < count; i++)
    h2_client_send_message(client, s, packed, packed_len, false);
  free(m.service.data);
  free(packed);
}

/* ---- requests ---- */

/* Clients may send more than there is memory for. */
static void start_holding_4_mib(struct echo_server *e) {
  e->config.max_inbound_bytes = (int64_t)(4 * MIB);
  e->config.stream_window_bytes = (int64_t)(8 * MIB);
  e->config.connection_window_bytes = (int64_t)(8 * MIB);
  e->holds_messages = true;
  echo_server_start(e);
}

static void held_messages_stop_reading_until_they_are_released(void **state) {
  struct echo_server *e = *state;
  start_holding_4_mib(e);
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_client *other = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, NULL, false);
  send_messages(client, s, 50 * KIB, 150);
  while (inbound_of(e) <= 4 * MIB / 8 * 7)
    echo_server_step(e);
  echo_server_settle(e);
  assert_in_range(inbound_of(e), 4 * MIB / 8 * 7, 4 * MIB);
  int seen = e->messages;
  assert_in_range(seen, 40, 80);
  /* Others wait as well, once what is left has gone to them. */
  struct h2_stream *first = h2_client_open(other, ECHO_BIDI, NULL, false);
  send_messages(other, first, 50 * KIB, 20);
  echo_server_settle(e);
  assert_in_range(e->messages, seen, seen + 8);
  assert_in_range(inbound_of(e), 4 * MIB / 8 * 7, 4 * MIB);
  while (e->messages < 170) {
    echo_server_release(e);
    echo_server_step(e);
  }
  echo_server_release(e);
  assert_int_equal(stats_of(e).memory[GRPC_MEMORY_HELD], 0);
  assert_int_equal(stats_of(e).shed, 0);
}

/* Four frames come with a read, each with a message of its own: memory gets short between them. */
static void a_call_waits_for_memory_within_a_read_too(void **state) {
  struct echo_server *e = *state;
  start_holding_4_mib(e);
  struct h2_client *clients[] = {echo_server_connect(e, 0), echo_server_connect(e, 0)};
  struct h2_stream *streams[2];
  for (size_t i = 0; i < 2; i++) {
    streams[i] = h2_client_open(clients[i], ECHO_BIDI, NULL, false);
    send_messages(clients[i], streams[i], FRAME_MESSAGE_BYTES, 300);
  }
  echo_server_settle(e);
  assert_in_range(e->messages, 1, 599);
  while (e->messages < 600) {
    echo_server_release(e);
    echo_server_step(e);
  }
  echo_server_release(e);
  assert_false(streams[0]->is_closed || streams[1]->is_closed);
}

static void the_greatest_holder_of_unfinished_messages_pays(void **state) {
  struct echo_server *e = *state;
  e->config.max_inbound_bytes = (int64_t)(2 * MIB);
  e->config.stream_window_bytes = (int64_t)MIB;
  echo_server_start(e);
  struct h2_client *honest = echo_server_connect(e, 0);
  struct h2_client *hog = echo_server_connect(e, 0);
  struct h2_stream *small = h2_client_open(honest, ECHO_BIDI, NULL, false);
  send_part(honest, small, 200 * KIB, 100 * KIB);
  while (stats_of(e).memory[GRPC_MEMORY_UNFINISHED] < (int64_t)(100 * KIB))
    echo_server_step(e);
  struct h2_stream *big[8];
  for (size_t i = 0; i < 8; i++) {
    big[i] = h2_client_open(hog, ECHO_BIDI, NULL, false);
    send_part(hog, big[i], MIB, 200 * KIB);
  }
  while (!big[0]->is_closed)
    echo_server_step(e);
  assert_int_equal(big[0]->grpc_status, GRPC_RESOURCE_EXHAUSTED);
  assert_true(stats_of(e).shed > 0);
  assert_true(stats_of(e).memory[GRPC_MEMORY_UNFINISHED] <= (int64_t)MIB);
  assert_false(small->is_closed);
  uint8_t rest[100 * 1024] = {0};
  h2_client_send(honest, small, rest, sizeof(rest), true);
  echo_wait_closed(e, small);
  assert_int_not_equal(small->grpc_status, GRPC_RESOURCE_EXHAUSTED);
  echo_assert_serving(e);
}

static void memory_of_a_lost_connection_is_given_back(void **state) {
  struct echo_server *e = *state;
  echo_server_start(e);
  echo_server_connect(e, 0);
  struct h2_client *lost = echo_server_connect(e, 0);
  struct h2_stream *s = h2_client_open(lost, ECHO_BIDI, NULL, false);
  send_part(lost, s, MIB, 100 * KIB);
  while (stats_of(e).memory[GRPC_MEMORY_UNFINISHED] < (int64_t)(100 * KIB))
    echo_server_step(e);
  h2_client_raw_frame(lost, (struct h2_frame){NGHTTP2_PING, 0, 0}, "short", 5);
  while (stats_of(e).connections > 1)
    echo_server_step(e);
  assert_int_equal(stats_of(e).memory[GRPC_MEMORY_UNFINISHED], 0);
  assert_int_equal(stats_of(e).failed, 1);
}

/* ---- answers ---- */

static void one_connection_queues_so_many_answers_and_all_go_on(void **state) {
  struct echo_server *e = *state;
  e->stream_size = 16 * KIB;
  e->stream_count = 1000;
  e->waits_writable = true;
  echo_server_start(e);
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *streams[16];
  h2_client_set_reading(client, false);
  for (size_t i = 0; i < 16; i++)
    streams[i] = echo_open(client, ECHO_SERVER_STREAM, NULL, "");
  while (e->sent < 64)
    echo_server_step(e);
  echo_server_settle(e);
  size_t arrived = 0;
  for (size_t i = 0; i < 16; i++)
    arrived += buf_len(&streams[i]->body);
  /* 1 MiB, and one message more for each stream. */
  assert_in_range(e->sent * e->stream_size - arrived, MIB - e->stream_size,
                  MIB + 16 * e->stream_size);
  h2_client_set_reading(client, true);
  for (size_t i = 0; i < 16; i++)
    nghttp2_session_consume(h2_client_session(client), streams[i]->id, buf_len(&streams[i]->body));
  for (size_t i = 0; i < 16; i++) {
    echo_wait_closed(e, streams[i]);
    assert_int_equal(streams[i]->grpc_status, GRPC_OK);
  }
  assert_int_equal(e->sent, e->stream_count);
}

/* Answers that nobody takes. */
static void ask_and_take_nothing(struct echo_server *e, struct h2_client *client, size_t count) {
  h2_client_set_reading(client, false);
  for (size_t i = 0; i < count; i++)
    echo_open(client, ECHO_SERVER_STREAM, NULL, "");
  echo_server_settle(e);
}

static void who_takes_no_answers_pays_for_them(void **state) {
  struct echo_server *e = *state;
  e->config.max_inbound_bytes = (int64_t)(4 * MIB);
  e->stream_size = 200 * KIB;
  e->stream_count = 1000;
  e->waits_writable = true;
  echo_server_start(e);
  struct h2_client *honest = echo_server_connect(e, 0);
  struct h2_client *hog = echo_server_connect(e, 0);
  ask_and_take_nothing(e, hog, 64);
  while (stats_of(e).shed == 0)
    echo_server_step(e);
  echo_server_settle(e);
  assert_in_range(inbound_of(e), 0, 2 * MIB + 64 * KIB);
  struct h2_stream *s = echo_open(honest, ECHO_UNARY, NULL, "still here");
  echo_wait_closed(e, s);
  echo_assert_ok(s);
}

static void a_connection_has_an_account_of_itself(void **state) {
  struct echo_server *e = *state;
  echo_server_start(e);
  echo_server_connect(e, 0);
  echo_assert_serving(e);
  int64_t one = stats_of(e).memory[GRPC_MEMORY_CONNECTION];
  assert_in_range(one, (int64_t)GRPC_CONNECTION_BYTES, (int64_t)(200 * KIB));
  struct h2_client *second = echo_server_connect(e, 0);
  while (stats_of(e).connections < 2)
    echo_server_step(e);
  echo_server_settle(e);
  assert_true(stats_of(e).memory[GRPC_MEMORY_CONNECTION] > one);
  h2_client_raw_frame(second, (struct h2_frame){NGHTTP2_PING, 0, 0}, "short", 5);
  while (stats_of(e).connections > 1)
    echo_server_step(e);
  assert_in_range(stats_of(e).memory[GRPC_MEMORY_CONNECTION], one - (int64_t)(8 * KIB),
                  one + (int64_t)(8 * KIB));
}

static void connections_that_do_not_fit_are_refused(void **state) {
  struct echo_server *e = *state;
  e->config.max_inbound_bytes = (int64_t)(128 * KIB);
  echo_server_start(e);
  echo_server_connect(e, 0);
  echo_assert_serving(e);
  struct h2_client *more = echo_server_connect(e, 0);
  while (!h2_client_is_closed(more))
    echo_server_step(e);
  assert_int_equal(stats_of(e).refused_memory, 1);
  assert_int_equal(stats_of(e).connections, 1);
}

/* Who has much and wants nothing leaves for those who come. */
static void a_newcomer_puts_out_the_greatest_stranger(void **state) {
  struct echo_server *e = *state;
  e->config.max_inbound_bytes = (int64_t)MIB;
  e->config.max_concurrent_streams = 1000;
  echo_server_start(e);
  struct h2_client *known = echo_server_connect(e, 0);
  echo_assert_serving(e);
  struct h2_client *stranger = echo_server_connect(e, 0);
  while (inbound_of(e) < MIB / 16 * 7 - 20 * KIB) {
    h2_client_open(stranger, "/grpc.health.v1.Health/Watch", NULL, false);
    echo_server_step(e);
  }
  struct h2_client *refused = echo_server_connect(e, 0);
  while (!h2_client_is_closed(refused))
    echo_server_step(e);
  while (!h2_client_is_closed(stranger))
    echo_server_step(e);
  struct h2_client *next = echo_server_connect(e, 0);
  while (stats_of(e).connections < 2)
    echo_server_step(e);
  echo_server_settle(e);
  assert_false(h2_client_is_closed(next) || h2_client_is_closed(known));
}

/* ---- time ---- */

static void a_silent_stream_of_an_open_service_is_ended(void **state) {
  struct echo_server *e = *state;
  e->config.write_timeout_us = 200000;
  e->reflects = true;
  echo_server_start(e);
  struct h2_client *client = echo_server_connect(e, 0);
  struct h2_stream *open = h2_client_open(
      client, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", NULL, false);
  struct h2_stream *own = h2_client_open(client, ECHO_BIDI, NULL, false);
  echo_wait_closed(e, open);
  assert_int_equal(open->grpc_status, GRPC_DEADLINE_EXCEEDED);
  assert_false(own->is_closed);
}

static void calls_that_outlive_their_grace_are_cut(void **state) {
  struct echo_server *e = *state;
  e->config.max_connection_age_us = 50000;
  e->config.max_connection_age_grace_us = 50000;
  e->config.write_timeout_us = 400000;
  e->holds_calls = true;
  echo_server_start(e);
  struct h2_client *client = echo_server_connect(e, 0);
  echo_open(client, ECHO_UNARY, NULL, "x");
  while (e->held_call_count == 0)
    echo_server_step(e);
  while (!h2_client_is_closed(client))
    echo_server_step(e);
  assert_int_equal(h2_client_goaway_count(client), 2);
  while (!grpc_call_is_cancelled(e->held_calls[0]))
    echo_server_step(e);
}

/* ---- what a rush leaves unused ---- */

static int trims;
static size_t unused_bytes;

/* In the place of glibc's. */
int malloc_trim(size_t pad) {
  assert_int_equal(pad, 0);
  trims++;
  unused_bytes = 0;
  return 1;
}

struct mallinfo2 mallinfo2(void) {
  return (struct mallinfo2){.fordblks = unused_bytes};
}

static int unused_setup(void **state) {
  static struct grpc_memory memory;
  memory = (struct grpc_memory){0};
  trims = 0;
  unused_bytes = 0;
  *state = &memory;
  return 0;
}

/* From `from_s` on, a tick each second: the one in which memory is given back; 0: in none. */
static int trimmed_at(struct grpc_memory *memory, int from_s, int until_s) {
  int before = trims;
  for (int s = from_s; s <= until_s; s++) {
    bool is_waiting = grpc_memory_tick(memory, s * SECOND_US);
    if (trims > before)
      return s;
    assert_true(is_waiting);
  }
  return 0;
}

static void use(struct grpc_memory *memory, size_t bytes) {
  size_t was = memory->total.used_bytes;
  budget_give(&memory->total, was);
  budget_force(&memory->total, bytes);
  unused_bytes += was > bytes ? was - bytes : 0;
}

static void unused_memory_is_given_back_once_and_not_at_once(void **state) {
  struct grpc_memory *memory = *state;
  use(memory, 60 * MIB);
  assert_false(grpc_memory_tick(memory, 10 * SECOND_US));
  use(memory, 10 * MIB);
  assert_int_equal(trimmed_at(memory, 11, 40), 20);
  assert_int_equal(trimmed_at(memory, 21, 24), 0);
  assert_false(grpc_memory_tick(memory, 25 * SECOND_US));
  assert_int_equal(trims, 1);
}

static void what_was_not_counted_goes_with_the_next_look(void **state) {
  struct grpc_memory *memory = *state;
  unused_bytes = 17 * MIB;
  assert_int_equal(trimmed_at(memory, 1, 40), 5);
}

static void a_little_stays(void **state) {
  struct grpc_memory *memory = *state;
  unused_bytes = 16 * MIB;
  assert_int_equal(trimmed_at(memory, 1, 4), 0);
  assert_false(grpc_memory_tick(memory, 5 * SECOND_US));
  assert_int_equal(trims, 0);
}

static void what_a_load_takes_again_is_kept_for_it(void **state) {
  struct grpc_memory *memory = *state;
  for (int s = 1; s < 100; s += 5) {
    use(memory, 60 * MIB);
    unused_bytes = 0;
    assert_true(grpc_memory_tick(memory, s * SECOND_US));
    use(memory, 0);
    assert_int_equal(trimmed_at(memory, s + 1, s + 4), 0);
  }
  assert_int_equal(trimmed_at(memory, 101, 120), 105);
}

static void it_is_given_back_behind_the_last_connection_too(void **state) {
  struct echo_server *e = *state;
  e->config.max_inbound_bytes = (int64_t)(128 * MIB);
  e->config.max_message_bytes = (int64_t)(64 * MIB);
  e->config.stream_window_bytes = (int64_t)(64 * MIB);
  e->config.connection_window_bytes = (int64_t)(64 * MIB);
  trims = 0;
  unused_bytes = 0;
  echo_server_start(e);
  struct h2_client *client = echo_server_connect(e, 0);
  send_part(client, h2_client_open(client, ECHO_BIDI, NULL, false), 40 * MIB, 20 * MIB);
  while (stats_of(e).memory[GRPC_MEMORY_UNFINISHED] < (int64_t)(20 * MIB))
    echo_server_step(e);
  /* Without waiting for a tick, between two of which all may come and go. */
  assert_true(e->server->memory.peak_bytes >= 20 * MIB);
  h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_PING, 0, 0}, "short", 5);
  while (stats_of(e).connections > 0)
    echo_server_step(e);
  unused_bytes = 20 * MIB;
  while (trims == 0)
    echo_server_step(e);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(held_messages_stop_reading_until_they_are_released),
      CASE(a_call_waits_for_memory_within_a_read_too),
      CASE(the_greatest_holder_of_unfinished_messages_pays),
      CASE(memory_of_a_lost_connection_is_given_back),
      CASE(one_connection_queues_so_many_answers_and_all_go_on),
      CASE(calls_that_outlive_their_grace_are_cut),
      CASE(who_takes_no_answers_pays_for_them),
      CASE(a_connection_has_an_account_of_itself),
      CASE(connections_that_do_not_fit_are_refused),
      CASE(a_newcomer_puts_out_the_greatest_stranger),
      CASE(a_silent_stream_of_an_open_service_is_ended),
      cmocka_unit_test_setup(unused_memory_is_given_back_once_and_not_at_once, unused_setup),
      cmocka_unit_test_setup(what_was_not_counted_goes_with_the_next_look, unused_setup),
      cmocka_unit_test_setup(a_little_stays, unused_setup),
      cmocka_unit_test_setup(what_a_load_takes_again_is_kept_for_it, unused_setup),
      CASE(it_is_given_back_behind_the_last_connection_too),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
