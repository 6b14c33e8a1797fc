#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "grpc/deadlines.h"

#define COUNT 500

/* A clock that the test moves. */
struct fake_clock {
  struct clock base;
  int64_t now_us;
};

struct entry {
  struct grpc_deadline deadline;
  int expired;
};

struct fixture {
  uv_loop_t uv;
  struct fake_clock clock;
  struct loop loop;
  struct grpc_deadlines deadlines;
  struct entry entries[COUNT];
};

static int64_t fake_now(const struct clock *clock) {
  return ((const struct fake_clock *)clock)->now_us;
}

static void on_expired(struct grpc_deadline *deadline) {
  assert_int_equal(deadline->slot, 0);
  LIST_ENTRY(deadline, struct entry, deadline)->expired++;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  assert_int_equal(uv_loop_init(&f->uv), 0);
  f->clock = (struct fake_clock){.base = {fake_now, fake_now}, .now_us = 1000000};
  loop_init(&f->loop, &f->uv, &f->clock.base);
  grpc_deadlines_init(&f->deadlines, &f->loop, on_expired);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  grpc_deadlines_close(&f->deadlines, NULL, NULL);
  loop_deinit(&f->loop);
  uv_run(&f->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&f->uv), 0);
  free(f);
  return 0;
}

/* Moves the clock and fires the timer as the loop would. */
static void move_to(struct fixture *f, int64_t now_us) {
  f->clock.now_us = now_us;
  f->deadlines.timer.cb(f->deadlines.timer.arg);
}

/* 0 .. COUNT-1 in an order that is far from sorted. */
static size_t shuffled(size_t i) {
  return i * 197 % COUNT;
}

static void add_all(struct fixture *f) {
  for (size_t i = 0; i < COUNT; i++) {
    size_t k = shuffled(i);
    grpc_deadlines_add(&f->deadlines, &f->entries[k].deadline, 2000000 + (int64_t)k * 1000);
  }
}

static void each_expires_once_and_in_its_time(void **state) {
  struct fixture *f = *state;
  add_all(f);
  for (size_t step = 0; step < COUNT; step++) {
    move_to(f, 2000000 + (int64_t)step * 1000);
    for (size_t k = 0; k < COUNT; k++)
      assert_int_equal(f->entries[k].expired, k <= step);
  }
  assert_int_equal(f->deadlines.count, 0);
}

static void removed_ones_never_expire(void **state) {
  struct fixture *f = *state;
  add_all(f);
  for (size_t i = 0; i < COUNT; i++) {
    if (shuffled(i) % 3 == 0)
      grpc_deadlines_remove(&f->deadlines, &f->entries[shuffled(i)].deadline);
  }
  grpc_deadlines_remove(&f->deadlines, &f->entries[0].deadline);
  for (size_t step = 0; step < COUNT; step++) {
    move_to(f, 2000000 + (int64_t)step * 1000);
    for (size_t k = 0; k < COUNT; k++)
      assert_int_equal(f->entries[k].expired, k <= step && k % 3 != 0);
  }
}

static void never_is_left_out(void **state) {
  struct fixture *f = *state;
  grpc_deadlines_add(&f->deadlines, &f->entries[0].deadline, CLOCK_NEVER);
  assert_int_equal(f->deadlines.count, 0);
  grpc_deadlines_remove(&f->deadlines, &f->entries[0].deadline);
}

static void timer_is_set_to_the_earliest(void **state) {
  struct fixture *f = *state;
  grpc_deadlines_add(&f->deadlines, &f->entries[0].deadline, 5000000);
  assert_true(f->deadlines.armed_us == 5000000);
  grpc_deadlines_add(&f->deadlines, &f->entries[1].deadline, 9000000);
  assert_true(f->deadlines.armed_us == 5000000);
  grpc_deadlines_add(&f->deadlines, &f->entries[2].deadline, 3000000);
  assert_true(f->deadlines.armed_us == 3000000);
  move_to(f, 5000000);
  assert_true(f->deadlines.armed_us == 9000000);
  move_to(f, 9000000);
  assert_true(f->deadlines.armed_us == CLOCK_NEVER);
}

static void a_crowd_takes_several_turns(void **state) {
  struct fixture *f = *state;
  add_all(f);
  while (f->deadlines.count > 0) {
    size_t before = f->deadlines.count;
    assert_true(f->deadlines.armed_us <= 9000000);
    move_to(f, 9000000);
    assert_in_range(before - f->deadlines.count, 1, COUNT / 2);
  }
  for (size_t k = 0; k < COUNT; k++)
    assert_int_equal(f->entries[k].expired, 1);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(each_expires_once_and_in_its_time),
      CASE(removed_ones_never_expire),
      CASE(never_is_left_out),
      CASE(timer_is_set_to_the_earliest),
      CASE(a_crowd_takes_several_turns),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
