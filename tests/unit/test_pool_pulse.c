#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pg/internal.h"
#include "support/pg_request.h"
#include "support/pg_world.h"

#define SECOND_US       1000000LL
#define FROZEN_AFTER_US (SECOND_US / 2)

struct told {
  int count;
  enum pg_pool_state last;
  bool was_frozen;
};

static void on_state(void *arg, enum pg_pool_state state) {
  struct told *told = arg;
  told->count++;
  told->last = state;
  told->was_frozen = told->was_frozen || state == PG_POOL_FROZEN;
}

static void open_world(struct pg_world *world, void **state, const char *name, struct told *told) {
  *told = (struct told){0};
  pg_world_init(world, *state, name);
  world->config.frozen_after_us = FROZEN_AFTER_US;
  pg_world_open(world);
  pg_pool_on_state(world->pool, on_state, told);
}

static bool is_asking(void *arg) {
  const struct pg_world *world = arg;
  return world->pool->pulse.asked_us != CLOCK_NEVER;
}

static void who_wants_to_hear_of_the_state_is_called_on_each_change(void **state) {
  struct pg_world world;
  struct told told;
  open_world(&world, state, __func__, &told);
  pg_release(pg_world_acquire(&world));
  assert_int_equal(told.count, 1);
  assert_int_equal(told.last, PG_POOL_UP);
  pg_world_run_for(&world, 2 * FROZEN_AFTER_US);
  assert_int_equal(told.count, 1);
  pg_world_deinit(&world);
  assert_int_equal(told.last, PG_POOL_CLOSED);
}

/* The loop stands still for twice frozen_after, with the answer waiting in the socket. */
static void an_answer_that_waits_to_be_read_counts(void **state) {
  struct pg_world world;
  struct told told;
  open_world(&world, state, __func__, &told);
  pg_release(pg_world_acquire(&world));
  for (int i = 0; i < 3; i++) {
    pg_world_wait(&world, is_asking, &world);
    pg_observer_run(world.observer, "SELECT pg_sleep(1)");
    pg_world_run_for(&world, FROZEN_AFTER_US / 10);
  }
  assert_false(told.was_frozen);
  pg_world_deinit(&world);
}

static void asking_is_no_use_of_a_connection(void **state) {
  struct pg_world world;
  struct told told;
  struct pg_lease *conns[3];
  open_world(&world, state, __func__, &told);
  pg_world_acquire_all(&world, conns, 3);
  pg_world_release_all(conns, 3);
  int64_t idle_since_us =
      LIST_ENTRY(world.pool->states[CONN_IDLE].last, struct pg_lease, link)->idle_since_us;
  pg_world_wait(&world, is_asking, &world);
  pg_world_run_for(&world, FROZEN_AFTER_US);
  struct pg_pool_stats stats = pg_world_stats(&world);
  assert_int_equal(stats.pings_ok, 0);
  assert_int_equal(stats.open, 3);
  assert_int_equal(
      LIST_ENTRY(world.pool->states[CONN_IDLE].last, struct pg_lease, link)->idle_since_us,
      idle_since_us);
  pg_world_deinit(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_wants_to_hear_of_the_state_is_called_on_each_change),
      cmocka_unit_test(an_answer_that_waits_to_be_read_counts),
      cmocka_unit_test(asking_is_no_use_of_a_connection),
  };
  return cmocka_run_group_tests_name("pool_pulse", tests, pg_server_group_setup,
                                     pg_server_group_teardown);
}
