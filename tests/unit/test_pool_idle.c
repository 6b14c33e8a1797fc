#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/pg_world.h"

#define SECOND_US 1000000LL

/* ---- what closes idle connections ---- */

static void idle_ones_above_max_idle_go_after_a_look_back(void **state) {
  struct pg_world world;
  struct pg_lease *conns[6];
  pg_world_init(&world, *state, __func__);
  world.config.max_idle_conns = 2;
  pg_world_open(&world);
  /* While bursts come more often than the window is long, nothing is closed. */
  int64_t start_us = pg_world_now(&world);
  while (pg_world_now(&world) < start_us + 2 * SECOND_US) {
    pg_world_acquire_all(&world, conns, 6);
    pg_world_release_all(conns, 6);
    pg_world_run_for(&world, 50000);
  }
  assert_int_equal(pg_world_stats(&world).opened, 6);
  assert_int_equal(pg_world_closed(&world), 0);
  pg_world_wait_open(&world, 2);
  assert_in_range(pg_world_now(&world) - start_us, 2 * SECOND_US, 5 * SECOND_US);
  pg_world_run_for(&world, SECOND_US + SECOND_US / 2);
  assert_int_equal(pg_world_stats(&world).open, 2);
  pg_world_deinit(&world);
}

static void an_old_connection_is_replaced(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.conn_max_lifetime_us = 200000;
  world.config.conn_max_idle_time_us = CLOCK_NEVER;
  pg_world_open(&world);
  int64_t end_us = pg_world_now(&world) + SECOND_US;
  while (pg_world_now(&world) < end_us) {
    struct pg_lease *conn = pg_world_acquire(&world);
    assert_in_range(
        pg_world_int(&world, conn,
                     "SELECT (extract(epoch FROM clock_timestamp() - backend_start) * 1e6)::int8 "
                     "FROM pg_stat_activity WHERE pid = pg_backend_pid()"),
        0, SECOND_US);
    pg_release(conn);
  }
  assert_in_range(pg_world_stats(&world).opened, 3, 8);
  /* An idle one as well, without anybody asking. */
  pg_world_wait_open(&world, 0);
  pg_world_deinit(&world);
}

static void an_unused_connection_is_closed_and_a_used_one_kept(void **state) {
  struct pg_world world;
  struct pg_lease *conns[3];
  pg_world_init(&world, *state, __func__);
  world.config.conn_max_lifetime_us = CLOCK_NEVER;
  world.config.conn_max_idle_time_us = 300000;
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 3);
  pg_world_release_all(conns, 3);
  int64_t start_us = pg_world_now(&world);
  while (pg_world_now(&world) < start_us + SECOND_US) {
    pg_release(pg_world_acquire(&world));
    pg_world_run_for(&world, 20000);
  }
  assert_int_equal(pg_world_stats(&world).open, 1);
  assert_int_equal(pg_world_stats(&world).opened, 3);
  pg_world_wait_open(&world, 0);
  pg_world_deinit(&world);
}

static void a_killed_idle_connection_is_noticed_without_traffic(void **state) {
  struct pg_world world;
  struct pg_lease *conns[3];
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 3);
  pg_world_release_all(conns, 3);
  assert_int_equal(pg_observer_kill(world.observer, __func__), 3);
  int64_t start_us = pg_world_now(&world);
  pg_world_wait_open(&world, 0);
  assert_in_range(pg_world_now(&world) - start_us, 0, SECOND_US / 2);
  for (int i = 0; i < 100; i++)
    pg_release(pg_world_acquire(&world));
  pg_world_deinit(&world);
}

/* The FATAL lies unread in the socket: whoever sends without looking loses the request. */
static void a_killed_idle_connection_is_never_handed_out(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  for (int i = 0; i < 20; i++) {
    pg_release(pg_world_acquire(&world));
    pg_observer_run(world.observer,
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                    "application_name = 'a_killed_idle_connection_is_never_handed_out'");
    struct pg_lease *conn = pg_world_acquire(&world);
    assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
    pg_release(conn);
  }
  pg_world_deinit(&world);
}

static void after_a_shutdown_notice_leased_connections_are_not_kept(void **state) {
  struct pg_world world;
  struct pg_lease *conns[2];
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 2);
  pg_release(conns[0]);
  char sql[128];
  int64_t other = pg_world_int(&world, conns[1], "SELECT pg_backend_pid()::int8");
  snprintf(sql, sizeof(sql),
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> %d AND "
           "application_name LIKE 'after%%'",
           (int)other);
  pg_observer_run(world.observer, sql);
  pg_world_wait_open(&world, 1);
  pg_release(conns[1]);
  assert_int_equal(pg_world_stats(&world).open, 0);
  pg_world_deinit(&world);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(idle_ones_above_max_idle_go_after_a_look_back),
      cmocka_unit_test(an_old_connection_is_replaced),
      cmocka_unit_test(an_unused_connection_is_closed_and_a_used_one_kept),
      cmocka_unit_test(a_killed_idle_connection_is_noticed_without_traffic),
      cmocka_unit_test(a_killed_idle_connection_is_never_handed_out),
      cmocka_unit_test(after_a_shutdown_notice_leased_connections_are_not_kept),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, pg_server_group_setup, pg_server_group_teardown);
}
