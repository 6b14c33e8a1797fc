/* How much of the processor one connection may take beside others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(who_takes_too_long_rests_while_others_go_on, echo_setup,
                                      echo_teardown),
      cmocka_unit_test_setup_teardown(who_is_alone_never_rests, echo_setup, echo_teardown),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
