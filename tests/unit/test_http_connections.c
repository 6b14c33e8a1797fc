/* Which connection of the HTTP port goes when another needs its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/connections.h"

#define COUNT    6
#define NO_LIMIT INT64_MAX
#define KIB      1024

struct fixture {
  struct http_conns conns;
  struct http_conn *conn[COUNT];
  int peer[COUNT];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  for (int i = 0; i < COUNT; i++) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    f->peer[i] = pair[1];
    f->conn[i] = http_conn_add(&f->conns, pair[0]);
  }
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < COUNT; i++) {
    close(f->conn[i]->fd);
    close(f->peer[i]);
    http_conn_remove(&f->conns, f->conn[i]);
  }
  assert_int_equal(http_conn_count(&f->conns), 0);
  assert_int_equal(f->conns.answer_bytes, 0);
  free(f);
  return 0;
}

static bool is_shut(const struct fixture *f, int i) {
  char byte;
  return recv(f->peer[i], &byte, 1, MSG_DONTWAIT) == 0;
}

/* Exactly these are shut down: a text of '1' for each that is. */
static void assert_shut(const struct fixture *f, const char *expected) {
  char shut[COUNT + 1] = "";
  for (int i = 0; i < COUNT; i++)
    shut[i] = is_shut(f, i) ? '1' : '0';
  assert_string_equal(shut, expected);
}

static void serve(struct fixture *f, int i) {
  http_conn_answer(&f->conns, f->conn[i], KIB, NO_LIMIT);
  http_conn_answered(&f->conns, f->conn[i]);
}

static void with_room_nobody_goes(void **state) {
  struct fixture *f = *state;
  http_conn_make_room(&f->conns, COUNT + 1);
  assert_shut(f, "000000");
  assert_int_equal(f->conns.evicted, 0);
}

static void the_longest_idle_goes_first(void **state) {
  struct fixture *f = *state;
  serve(f, 3);
  serve(f, 1);
  serve(f, 3);
  http_conn_make_room(&f->conns, COUNT);
  assert_shut(f, "010000");
  assert_int_equal(http_conn_count(&f->conns), COUNT - 1);
}

static void then_the_oldest_that_has_not_asked(void **state) {
  struct fixture *f = *state;
  serve(f, 4);
  http_conn_make_room(&f->conns, COUNT - 2);
  assert_shut(f, "110010");
  assert_int_equal(f->conns.evicted, 3);
}

static void then_the_one_whose_answer_takes_longest(void **state) {
  struct fixture *f = *state;
  static const int order[] = {2, 0, 1, 3, 4, 5};
  for (int i = 0; i < COUNT; i++)
    http_conn_answer(&f->conns, f->conn[order[i]], KIB, NO_LIMIT);
  http_conn_make_room(&f->conns, COUNT - 1);
  assert_shut(f, "101000");
}

static void one_that_leaves_comes_back_into_no_list(void **state) {
  struct fixture *f = *state;
  http_conn_make_room(&f->conns, COUNT);
  serve(f, 0);
  assert_int_equal(http_conn_count(&f->conns), COUNT - 1);
  http_conn_make_room(&f->conns, COUNT);
  assert_shut(f, "100000");
}

static void answers_that_nobody_takes_are_bounded(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < COUNT; i++)
    http_conn_answer(&f->conns, f->conn[i], KIB, (int64_t)4 * KIB);
  assert_shut(f, "110000");
  assert_int_equal(f->conns.evicted, 2);
}

static void one_answer_above_the_bound_is_sent(void **state) {
  struct fixture *f = *state;
  http_conn_answer(&f->conns, f->conn[0], (size_t)9 * KIB, KIB);
  assert_shut(f, "000000");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(with_room_nobody_goes),
      TEST(the_longest_idle_goes_first),
      TEST(then_the_oldest_that_has_not_asked),
      TEST(then_the_one_whose_answer_takes_longest),
      TEST(one_that_leaves_comes_back_into_no_list),
      TEST(answers_that_nobody_takes_are_bounded),
      TEST(one_answer_above_the_bound_is_sent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
