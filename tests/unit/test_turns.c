#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "query/turns.h"

/* A clock that the test moves. */
struct fake_clock {
  struct clock base;
  int64_t now_us;
};

struct fixture {
  uv_loop_t uv;
  struct fake_clock clock;
  struct loop loop;
  struct config_query config;
  struct turns *turns;
  char order[64]; /* the names of those whose turn it became */
  size_t order_len;
};

struct asker {
  struct fixture *f;
  struct turn turn;
  enum error_code code;
  char name; /* in `order` */
  bool is_told;
};

static int64_t fake_now(const struct clock *clock) {
  return ((const struct fake_clock *)clock)->now_us;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  assert_int_equal(uv_loop_init(&f->uv), 0);
  f->clock = (struct fake_clock){.base = {fake_now, fake_now}, .now_us = 1000000};
  loop_init(&f->loop, &f->uv, &f->clock.base);
  f->config = (struct config_query){
      .max_running = 3, .max_running_per_principal = 3, .max_unindexed = 3, .max_waiting = 100};
  f->turns = turns_new(&f->loop, &f->config);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  turns_free(f->turns);
  loop_deinit(&f->loop);
  uv_run(&f->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&f->uv), 0);
  free(f);
  return 0;
}

static void run_loop(struct fixture *f) {
  for (int i = 0; i < 3; i++)
    uv_run(&f->uv, UV_RUN_NOWAIT);
}

static void on_turn(void *arg, enum error_code code) {
  struct asker *asker = arg;
  assert_false(asker->is_told);
  asker->is_told = true;
  asker->code = code;
  if (code == ERR_OK)
    asker->f->order[asker->f->order_len++] = asker->name;
}

static void ask(struct fixture *f, struct asker *asker, const char *principal,
                enum turn_kind kind) {
  *asker = (struct asker){
      .f = f,
      .name = principal[0],
      .turn = {
          .kind = kind, .deadline_us = f->clock.now_us + 1000000, .cb = on_turn, .arg = asker}};
  turns_ask(f->turns, &asker->turn, str_z(principal));
  assert_false(asker->is_told);
}

/* So many of one caller, from askers[first] on. */
static void ask_many(struct fixture *f, struct asker *askers, int count, const char *principal,
                     enum turn_kind kind) {
  for (int i = 0; i < count; i++)
    ask(f, &askers[i], principal, kind);
  run_loop(f);
}

static void leave_all(struct fixture *f, struct asker *askers, int count) {
  for (int i = 0; i < count; i++)
    turns_leave(f->turns, &askers[i].turn);
  run_loop(f);
}

static int running(const struct fixture *f) {
  struct turns_stats stats;
  turns_stats(f->turns, &stats);
  return stats.running[TURN_INDEXED] + stats.running[TURN_UNINDEXED];
}

static int waiting(const struct fixture *f) {
  struct turns_stats stats;
  turns_stats(f->turns, &stats);
  return stats.waiting[TURN_INDEXED] + stats.waiting[TURN_UNINDEXED];
}

static void no_more_run_at_once_than_allowed(void **state) {
  struct fixture *f = *state;
  struct asker askers[8];
  ask_many(f, askers, 8, "a", TURN_INDEXED);
  assert_int_equal(running(f), 3);
  assert_int_equal(waiting(f), 5);
  turns_leave(f->turns, &askers[1].turn);
  run_loop(f);
  assert_true(askers[3].is_told);
  assert_false(askers[4].is_told);
  assert_int_equal(running(f), 3);
  leave_all(f, askers, 8);
  assert_int_equal(running(f), 0);
  assert_int_equal(waiting(f), 0);
}

static void one_caller_has_no_more_than_his_share(void **state) {
  struct fixture *f = *state;
  struct asker askers[6];
  f->config.max_running_per_principal = 2;
  ask_many(f, askers, 5, "a", TURN_INDEXED);
  assert_int_equal(running(f), 2);
  ask(f, &askers[5], "b", TURN_INDEXED);
  run_loop(f);
  assert_true(askers[5].is_told);
  assert_int_equal(running(f), 3);
  leave_all(f, askers, 6);
}

static void callers_are_served_in_turn(void **state) {
  struct fixture *f = *state;
  struct asker askers[9];
  f->config.max_running = 1;
  ask_many(f, askers, 6, "a", TURN_INDEXED);
  ask_many(f, &askers[6], 2, "b", TURN_INDEXED);
  ask_many(f, &askers[8], 1, "c", TURN_INDEXED);
  for (int i = 0; i < 9; i++) {
    for (int k = 0; k < 9; k++) {
      if (askers[k].turn.is_running)
        turns_leave(f->turns, &askers[k].turn);
    }
    run_loop(f);
  }
  assert_string_equal(f->order, "aabcabaaa");
  leave_all(f, askers, 9);
}

static void what_no_index_serves_has_a_bound_of_its_own(void **state) {
  struct fixture *f = *state;
  struct asker askers[6];
  f->config.max_unindexed = 1;
  ask_many(f, askers, 4, "a", TURN_UNINDEXED);
  assert_int_equal(running(f), 1);
  ask_many(f, &askers[4], 2, "a", TURN_INDEXED);
  assert_int_equal(running(f), 3);
  assert_true(askers[4].is_told && askers[5].is_told);
  leave_all(f, askers, 6);
}

static void neither_kind_keeps_the_other_from_its_turn(void **state) {
  struct fixture *f = *state;
  struct asker askers[8];
  f->config.max_running = 1;
  f->config.max_unindexed = 1;
  ask_many(f, askers, 4, "u", TURN_UNINDEXED);
  ask_many(f, &askers[4], 4, "i", TURN_INDEXED);
  for (int i = 0; i < 7; i++) {
    for (int k = 0; k < 8; k++) {
      if (askers[k].turn.is_running)
        turns_leave(f->turns, &askers[k].turn);
    }
    run_loop(f);
  }
  assert_string_equal(f->order, "uiuiuiui");
  leave_all(f, askers, 8);
}

static void whoever_waits_to_his_deadline_is_told(void **state) {
  struct fixture *f = *state;
  struct asker askers[5];
  ask_many(f, askers, 5, "a", TURN_INDEXED);
  f->clock.now_us += 999999;
  run_loop(f);
  assert_false(askers[3].is_told);
  f->clock.now_us += 1;
  run_loop(f);
  assert_int_equal(askers[3].code, ERR_TIMEOUT);
  assert_int_equal(askers[4].code, ERR_TIMEOUT);
  assert_int_equal(askers[0].code, ERR_OK);
  assert_int_equal(waiting(f), 0);
  leave_all(f, askers, 5);
}

static void without_room_the_caller_with_the_most_goes_without(void **state) {
  struct fixture *f = *state;
  struct asker askers[9];
  f->config.max_waiting = 4;
  ask_many(f, askers, 8, "a", TURN_INDEXED);
  assert_int_equal(running(f), 3);
  assert_int_equal(waiting(f), 4);
  assert_int_equal(askers[7].code, ERR_EXHAUSTED);
  ask_many(f, &askers[8], 1, "b", TURN_INDEXED);
  assert_int_equal(waiting(f), 4);
  assert_int_equal(askers[6].code, ERR_EXHAUSTED);
  assert_false(askers[8].is_told);
  leave_all(f, askers, 1);
  assert_false(askers[8].is_told);
  assert_true(askers[3].is_told);
  leave_all(f, &askers[1], 1);
  assert_int_equal(askers[8].code, ERR_OK);
  assert_true(askers[8].is_told);
  leave_all(f, askers, 9);
}

static void whoever_leaves_while_waiting_is_not_told(void **state) {
  struct fixture *f = *state;
  struct asker askers[5];
  ask_many(f, askers, 5, "a", TURN_INDEXED);
  turns_leave(f->turns, &askers[3].turn);
  turns_leave(f->turns, &askers[0].turn);
  run_loop(f);
  assert_false(askers[3].is_told);
  assert_true(askers[4].is_told);
  leave_all(f, askers, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(no_more_run_at_once_than_allowed),
      TEST(one_caller_has_no_more_than_his_share),
      TEST(callers_are_served_in_turn),
      TEST(what_no_index_serves_has_a_bound_of_its_own),
      TEST(neither_kind_keeps_the_other_from_its_turn),
      TEST(whoever_waits_to_his_deadline_is_told),
      TEST(without_room_the_caller_with_the_most_goes_without),
      TEST(whoever_leaves_while_waiting_is_not_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
