/* How much of the processor one connection may take beside others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grpc/call.h"
#include "grpc/gzip.h"
#include "support/echo_server.h"

#define KIB ((size_t)1024)

static const struct h2_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};

static int64_t rests_of(const struct echo_server *e) {
  struct grpc_server_stats stats;
  grpc_server_stats(e->server, &stats);
  return stats.rests;
}

/* A message of a few kilobytes that inflates to nearly the maximum. */
static void append_bomb(struct buf *request, size_t len) {
  struct grpc_gzip state = {.has_deflater = false};
  struct buf body;
  uint8_t *zeros = calloc(1, len);
  assert_non_null(zeros);
  buf_init(&body, len);
  assert_true(grpc_gzip_compress(&state, str_of(zeros, len), &body));
  const uint8_t flag = 1;
  assert_true(buf_append(request, &flag, 1) && buf_append_be32(request, (uint32_t)buf_len(&body)) &&
              buf_append(request, buf_bytes(&body), buf_len(&body)));
  buf_deinit(&body);
  grpc_gzip_deinit(&state);
  free(zeros);
}

static void bomb(struct echo_server *e, struct h2_client *client, const struct buf *request) {
  struct h2_stream *s = h2_client_open(client, ECHO_BIDI, gzip, false);
  h2_client_send(client, s, buf_bytes(request), buf_len(request), true);
  echo_server_step(e);
}

static void who_takes_too_long_rests_while_others_go_on(void **state) {
  struct echo_server *e = *state;
  struct buf request;
  buf_init(&request, 64 * KIB);
  append_bomb(&request, 4096 * KIB - 100);
  echo_server_start(e);
  struct h2_client *honest = echo_server_connect(e, 0);
  struct h2_client *hog = echo_server_connect(e, 0);
  int answered = 0;
  while (rests_of(e) == 0) {
    bomb(e, hog, &request);
    echo_wait_closed(e, echo_open(honest, ECHO_UNARY, NULL, "x"));
  }
  for (; answered < 20; answered++) {
    bomb(e, hog, &request);
    struct h2_stream *s = echo_open(honest, ECHO_UNARY, NULL, "x");
    echo_wait_closed(e, s);
    echo_assert_ok(s);
  }
  buf_deinit(&request);
}

static void who_is_alone_never_rests(void **state) {
  struct echo_server *e = *state;
  struct buf request;
  buf_init(&request, 64 * KIB);
  append_bomb(&request, 4096 * KIB - 100);
  echo_server_start(e);
  struct h2_client *lone = echo_server_connect(e, 0);
  for (int i = 0; i < 30; i++)
    bomb(e, lone, &request);
  echo_server_settle(e);
  assert_int_equal(rests_of(e), 0);
  buf_deinit(&request);
}

/* ---- one turn ---- */

#define CALLS 24
#define MESSAGE_COST_US                                                                            \
  1500 /* so that nobody has used up what it may take at once, which is 50 ms                      \
        */

/* It stands still but for the time that calls take. */
struct slow_clock {
  struct clock clock;
  int64_t now_us;
  char served[2 * CALLS + 1]; /* by turns: u = unary, s = streaming */
  size_t count;
};

static int64_t slow_monotonic_us(const struct clock *clock) {
  return ((const struct slow_clock *)clock)->now_us;
}

static int64_t slow_wall_us(const struct clock *clock) {
  (void)clock;
  return clock_wall_us(&clock_system);
}

static struct grpc_status *serve_slowly(void *arg, struct grpc_call *call) {
  struct slow_clock *clock = arg;
  clock->now_us += MESSAGE_COST_US;
  assert_true(clock->count < 2 * CALLS);
  clock->served[clock->count++] = call->request.route->method->kind == GRPC_UNARY ? 'u' : 's';
  return NULL;
}

static size_t longest_run(const char *text) {
  size_t longest = 0;
  size_t len = 0;
  for (size_t i = 0; text[i]; i++) {
    len = i > 0 && text[i] == text[i - 1] ? len + 1 : 1;
    longest = len > longest ? len : longest;
  }
  return longest;
}

static struct grpc_status *open_slowly(void *arg, struct grpc_call *call,
                                       const struct grpc_method *method) {
  (void)method;
  return serve_slowly(arg, call);
}

/* Two connections send all at once, and the calls take long by what `start` sets. */
static void assert_turns_end(struct echo_server *e,
                             void (*start)(struct grpc_server *server, struct slow_clock *slow)) {
  struct slow_clock slow = {.clock = {slow_monotonic_us, slow_wall_us},
                            .now_us = clock_monotonic_us(&clock_system)};
  const char *text = "so many bytes that the clock is looked at more often than at each tenth call";
  e->loop.clock = &slow.clock;
  echo_server_start(e);
  start(e->server, &slow);
  struct h2_client *clients[2] = {echo_server_connect(e, 0), echo_server_connect(e, 0)};
  echo_server_settle(e);
  for (int i = 0; i < CALLS; i++) {
    echo_open(clients[0], ECHO_UNARY, NULL, text);
    echo_open(clients[1], ECHO_CLIENT_STREAM, NULL, text);
  }
  while (slow.count < 2 * CALLS)
    echo_server_step(e);
  /* Ten milliseconds, and what is taken in between two looks at the clock. */
  assert_in_range(longest_run(slow.served), 1, CALLS / 2);
  echo_server_settle(e);
  e->loop.clock = &clock_system;
}

static void set_slow_messages(struct grpc_server *server, struct slow_clock *slow) {
  grpc_server_on_message(server, serve_slowly, slow);
}

static void set_slow_headers(struct grpc_server *server, struct slow_clock *slow) {
  grpc_server_on_open(server, open_slowly, slow);
}

static void messages_that_came_at_once_leave_others_their_turn(void **state) {
  assert_turns_end(*state, set_slow_messages);
}

static void headers_that_came_at_once_leave_others_their_turn(void **state) {
  assert_turns_end(*state, set_slow_headers);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(who_takes_too_long_rests_while_others_go_on, echo_setup,
                                      echo_teardown),
      cmocka_unit_test_setup_teardown(who_is_alone_never_rests, echo_setup, echo_teardown),
      cmocka_unit_test_setup_teardown(messages_that_came_at_once_leave_others_their_turn,
                                      echo_setup, echo_teardown),
      cmocka_unit_test_setup_teardown(headers_that_came_at_once_leave_others_their_turn, echo_setup,
                                      echo_teardown),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
