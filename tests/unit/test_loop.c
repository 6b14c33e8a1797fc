#include "base/list.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
  struct list_link link;
  int value;
};

static void a_list_keeps_order_and_count(void **state) {
  (void)state;
  struct list list = {0};
  struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
  list_push_back(&list, &items[1].link);
  list_push_back(&list, &items[2].link);
  list_push_front(&list, &items[0].link);
  list_push_back(&list, &items[3].link);
  list_remove(&list, &items[2].link);
  assert_int_equal(list.count, 3);
  static const int expected[] = {0, 1, 3};
  for (int i = 0; i < 3; i++)
    assert_int_equal(LIST_ENTRY(list_pop_front(&list), struct item, link)->value, expected[i]);
  assert_null(list_pop_front(&list));
  assert_int_equal(list.count, 0);
}

/* ---- the loop ---- */

struct world {
  uv_loop_t uv;
  struct loop loop;
  struct loop_task first, second, again;
  int order[8];
  int count;
  int again_runs;
};

static int64_t fake_now;
static int64_t fake_monotonic(const struct clock *clock) {
  (void)clock;
  return fake_now;
}
static const struct clock fake_clock = {.monotonic_us = fake_monotonic, .wall_us = fake_monotonic};

static int setup(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  fake_now = 1000000;
  uv_loop_init(&w->uv);
  loop_init(&w->loop, &w->uv, &fake_clock);
  *state = w;
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  loop_deinit(&w->loop);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  int rc = uv_loop_close(&w->uv);
  free(w);
  return rc;
}

static void note_second(void *arg) {
  struct world *w = arg;
  w->order[w->count++] = 2;
}

static void note_first(void *arg) {
  struct world *w = arg;
  w->order[w->count++] = 1;
  loop_defer(&w->loop, &w->second);
}

static void deferred_work_runs_later_once_and_in_one_turn(void **state) {
  struct world *w = *state;
  w->first = (struct loop_task){.cb = note_first, .arg = w};
  w->second = (struct loop_task){.cb = note_second, .arg = w};
  loop_defer(&w->loop, &w->first);
  loop_defer(&w->loop, &w->first);
  assert_int_equal(w->count, 0);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->count, 2);
  assert_int_equal(w->order[0], 1);
  assert_int_equal(w->order[1], 2);
}

static void defer_again(void *arg) {
  struct world *w = arg;
  if (++w->again_runs < 5)
    loop_defer(&w->loop, &w->again);
}

static void a_task_that_defers_itself_waits_for_the_next_turn(void **state) {
  struct world *w = *state;
  w->again = (struct loop_task){.cb = defer_again, .arg = w};
  loop_defer(&w->loop, &w->again);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->again_runs, 1);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(w->again_runs, 5);
}

static void cancelled_work_does_not_run(void **state) {
  struct world *w = *state;
  w->second = (struct loop_task){.cb = note_second, .arg = w};
  loop_defer(&w->loop, &w->second);
  loop_cancel(&w->loop, &w->second);
  loop_cancel(&w->loop, &w->second);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(w->count, 0);
}

static void a_timer_fires_by_the_injected_clock(void **state) {
  struct world *w = *state;
  struct loop_timer timer;
  loop_timer_init(&timer, &w->loop, note_second, w);
  loop_timer_set(&timer, fake_now + 2000);
  /* Real time passes, the injected clock stands. */
  uv_timer_t real;
  uv_timer_init(&w->uv, &real);
  for (int i = 0; i < 5; i++)
    uv_run(&w->uv, UV_RUN_ONCE);
  assert_int_equal(w->count, 0);
  fake_now += 2000;
  while (w->count == 0)
    uv_run(&w->uv, UV_RUN_ONCE);
  assert_int_equal(w->count, 1);
  loop_timer_set(&timer, fake_now - 1);
  loop_timer_set(&timer, CLOCK_NEVER);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->count, 1);
  uv_close((uv_handle_t *)&real, NULL);
  loop_timer_close(&timer, note_second, w);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(w->count, 2);
}

static void moving_the_clock_alone_fires_a_timer(void **state) {
  struct world *w = *state;
  struct loop_timer timer;
  loop_timer_init(&timer, &w->loop, note_second, w);
  loop_timer_set(&timer, fake_now + 3600000000LL);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->count, 0);
  fake_now += 3600000000LL;
  uv_run(&w->uv, UV_RUN_NOWAIT);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->count, 1);
  loop_timer_close(&timer, NULL, NULL);
  uv_run(&w->uv, UV_RUN_DEFAULT);
}

struct late {
  struct loop_timer timer;
  int fired;
};

static void fire_late_again(void *arg) {
  struct late *late = arg;
  if (++late->fired < 1000)
    loop_timer_set(&late->timer, fake_now - 1);
}

static void a_timer_that_is_always_late_lets_the_loop_poll(void **state) {
  struct world *w = *state;
  struct late late = {.fired = 0};
  loop_timer_init(&late.timer, &w->loop, fire_late_again, &late);
  loop_timer_set(&late.timer, fake_now - 1);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(late.fired, 1);
  while (late.fired < 3)
    uv_run(&w->uv, UV_RUN_ONCE);
  loop_timer_close(&late.timer, NULL, NULL);
  uv_run(&w->uv, UV_RUN_DEFAULT);
}

static void a_timer_set_anew_or_closed_forgets_its_old_time(void **state) {
  struct world *w = *state;
  struct loop_timer timer;
  loop_timer_init(&timer, &w->loop, note_second, w);
  loop_timer_set(&timer, fake_now + 10);
  loop_timer_set(&timer, fake_now + 5000000);
  fake_now += 1000;
  uv_run(&w->uv, UV_RUN_NOWAIT);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  assert_int_equal(w->count, 0);
  loop_timer_close(&timer, NULL, NULL);
  loop_timer_set(&timer, fake_now);
  fake_now += 5000000;
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(w->count, 0);
  assert_int_equal(w->loop.armed.count, 0);
}

static void remaining_time_is_rounded_up_and_bounded(void **state) {
  (void)state;
  assert_int_equal(deadline_remaining_ms(&fake_clock, fake_now - 5), 0);
  assert_int_equal(deadline_remaining_ms(&fake_clock, fake_now + 1), 1);
  assert_int_equal(deadline_remaining_ms(&fake_clock, fake_now + 2000), 2);
  assert_int_equal(deadline_remaining_ms(&fake_clock, CLOCK_NEVER), INT32_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_list_keeps_order_and_count),
      cmocka_unit_test_setup_teardown(deferred_work_runs_later_once_and_in_one_turn, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_task_that_defers_itself_waits_for_the_next_turn, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(cancelled_work_does_not_run, setup, teardown),
      cmocka_unit_test_setup_teardown(a_timer_fires_by_the_injected_clock, setup, teardown),
      cmocka_unit_test_setup_teardown(moving_the_clock_alone_fires_a_timer, setup, teardown),
      cmocka_unit_test_setup_teardown(a_timer_that_is_always_late_lets_the_loop_poll, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_timer_set_anew_or_closed_forgets_its_old_time, setup,
                                      teardown),
      cmocka_unit_test(remaining_time_is_rounded_up_and_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
