#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/pg_request.h"
#include "support/pg_world.h"

#define SECOND_US 1000000LL

static int64_t closed_for(const struct pg_world *world, enum pg_close_reason reason) {
  return pg_world_stats(world).closed[reason];
}

static bool has_lost_three(void *arg) {
  /* The first farewell makes the others suspect, whose own may not have come yet. */
  int64_t told = closed_for(arg, PG_CLOSE_SERVER_SHUTDOWN);
  return told > 0 && told + closed_for(arg, PG_CLOSE_GENERATION) == 3;
}

/* ---- kept ready ---- */

static void connections_are_kept_ready_without_demand(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.min_idle_conns = 3;
  world.config.conn_max_idle_time_us = 200000;
  pg_world_open(&world);
  pg_world_wait_open(&world, 3);
  pg_world_run_for(&world, SECOND_US / 2);
  assert_int_equal(pg_world_stats(&world).open, 3);
  assert_int_equal(pg_observer_kill(world.observer, __func__), 3);
  pg_world_wait(&world, has_lost_three, &world);
  pg_world_wait_open(&world, 3);
  assert_int_equal(closed_for(&world, PG_CLOSE_IDLE_TIME), 0);
  pg_world_deinit(&world);
}

static void a_replacement_is_made_before_the_old_one_ends(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.min_idle_conns = 2;
  world.config.max_idle_conns = 2;
  world.config.conn_max_lifetime_us = SECOND_US;
  pg_world_open(&world);
  pg_world_wait_open(&world, 2);
  int64_t end_us = pg_world_now(&world) + 3 * SECOND_US;
  while (pg_world_now(&world) < end_us) {
    pg_world_run_for(&world, 2000);
    assert_in_range(pg_world_stats(&world).idle, 2, 4);
  }
  int64_t opened = pg_world_stats(&world).opened;
  assert_in_range(opened, 5, 16);
  pg_world_deinit(&world);
}

/* ---- signs of life ---- */

static void long_unused_connections_are_asked_before_use(void **state) {
  struct pg_world world;
  struct pg_lease *conns[2];
  pg_world_init(&world, *state, __func__);
  world.config.validate_after_idle_us = 100000;
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 2);
  pg_world_release_all(conns, 2);
  pg_release(pg_world_acquire(&world));
  assert_int_equal(pg_world_stats(&world).pings_ok, 0);
  pg_world_run_for(&world, 150000);
  pg_release(pg_world_acquire(&world));
  assert_int_equal(pg_world_stats(&world).pings_ok, 1);
  assert_int_equal(pg_world_stats(&world).opened, 2);
  pg_world_deinit(&world);
}

/* ---- the server has no more ---- */

static void a_full_server_lowers_the_ceiling_until_it_has_room(void **state) {
  struct pg_world world;
  struct pg_lease *conns[3];
  struct pg_request late;
  int answered = 0;
  pg_world_init(&world, *state, __func__);
  world.config.user = "limited";
  world.config.full_backoff_min_us = 200000;
  pg_observer_run(world.observer, "CREATE ROLE limited LOGIN CONNECTION LIMIT 2");
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 2);
  pg_request_ask(&world, &late, &answered, CLOCK_NEVER);
  pg_world_run_for(&world, SECOND_US / 10);
  struct pg_pool_stats stats = pg_world_stats(&world);
  assert_int_equal(stats.effective_max_open, 2);
  assert_int_equal(stats.open_failures[PG_DIAL_TOO_MANY], 1);
  assert_int_equal(stats.state, PG_POOL_UP);
  pg_release(conns[1]);
  pg_request_wait(&world, &late);
  assert_int_equal(late.err.code, ERR_OK);
  conns[1] = late.conn;
  pg_observer_run(world.observer, "ALTER ROLE limited CONNECTION LIMIT 9");
  conns[2] = pg_world_acquire(&world);
  assert_int_equal(pg_world_stats(&world).effective_max_open, world.config.max_open_conns);
  pg_world_release_all(conns, 3);
  pg_world_deinit(&world);
}

/* ---- a reload ---- */

static void a_lowered_limit_closes_what_comes_back(void **state) {
  struct pg_world world;
  struct pg_lease *conns[8];
  pg_world_init(&world, *state, __func__);
  world.config.max_open_conns = 8;
  world.config.max_idle_conns = 8;
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 8);
  pg_release(conns[7]);
  world.config.max_open_conns = 3;
  world.config.max_idle_conns = 3;
  pg_pool_reload(world.pool);
  pg_world_run_for(&world, SECOND_US / 20);
  assert_int_equal(pg_world_stats(&world).in_use, 7);
  pg_world_release_all(conns, 7);
  pg_world_wait_open(&world, 3);
  assert_int_equal(closed_for(&world, PG_CLOSE_RESIZE), 5);
  pg_world_wait(&world, pg_world_is_settled, &world);
  assert_int_equal(pg_observer_count(world.observer, __func__), 3);
  world.config.max_open_conns = 5;
  pg_pool_reload(world.pool);
  pg_world_acquire_all(&world, conns, 5);
  pg_world_release_all(conns, 5);
  pg_world_deinit(&world);
}

static void other_session_settings_replace_the_connections(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_release(pg_world_acquire(&world));
  pg_pool_reload(world.pool);
  pg_world_run_for(&world, SECOND_US / 20);
  assert_int_equal(pg_world_closed(&world), 0);
  world.config.statement_timeout_us = 12 * SECOND_US;
  pg_pool_reload(world.pool);
  pg_world_wait_open(&world, 0);
  assert_int_equal(closed_for(&world, PG_CLOSE_GENERATION), 1);
  struct pg_lease *conn = pg_world_acquire(&world);
  assert_int_equal(pg_world_int(&world, conn,
                                "SELECT setting::int8 FROM pg_settings WHERE name = "
                                "'statement_timeout'"),
                   12000);
  pg_release(conn);
  pg_world_deinit(&world);
}

static void a_shorter_lifetime_holds_for_those_that_are_open(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.conn_max_lifetime_us = CLOCK_NEVER;
  pg_world_open(&world);
  pg_release(pg_world_acquire(&world));
  world.config.conn_max_lifetime_us = SECOND_US / 10;
  pg_pool_reload(world.pool);
  pg_world_wait_open(&world, 0);
  assert_int_equal(closed_for(&world, PG_CLOSE_LIFETIME), 1);
  pg_world_deinit(&world);
}

/* ---- several hosts, session settings ---- */

static void the_first_host_that_answers_is_taken(void **state) {
  const struct pg_server *server = *state;
  struct pg_world world;
  char hosts[256];
  pg_world_init(&world, *state, __func__);
  snprintf(hosts, sizeof(hosts), "127.0.0.1:1,localhost:%d", server->port);
  world.config.host = hosts;
  world.config.port = 2;
  pg_world_open(&world);
  pg_release(pg_world_acquire(&world));
  assert_int_equal(pg_world_failures(&world), 0);
  pg_world_deinit(&world);
}

static void statements_may_stay_unprepared(void **state) {
  static const struct pg_statement sql = {.name = "seven", .sql = "SELECT 7::int8"};
  struct pg_world world;
  struct pg_world_run run;
  pg_world_init(&world, *state, __func__);
  for (int on = 0; on <= 1; on++) {
    world.config.prepared_statements = on;
    if (on)
      pg_pool_reload(world.pool);
    else
      pg_world_open(&world);
    struct pg_lease *conn = pg_world_acquire(&world);
    pg_world_execute(&world, conn, &sql, &run);
    assert_int_equal(run.value, 7);
    assert_int_equal(
        pg_world_int(&world, conn, "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"),
        on);
    pg_release(conn);
  }
  pg_world_deinit(&world);
}

/* ---- the server's limits ---- */

struct answer {
  bool is_done;
  struct pg_server_limits limits;
};

static void on_limits(void *arg, const struct pg_server_limits *limits, const struct error *err) {
  struct answer *answer = arg;
  assert_null(err);
  answer->limits = *limits;
  answer->is_done = true;
}

static bool is_answered(void *arg) {
  return ((struct answer *)arg)->is_done;
}

static struct pg_server_limits limits_of(void **state, const char *test, const char *user) {
  struct pg_world world;
  struct answer answer = {0};
  pg_world_init(&world, *state, test);
  world.config.user = user;
  pg_world_open(&world);
  pg_limits_read(world.pool, CLOCK_NEVER, on_limits, &answer);
  pg_world_wait(&world, is_answered, &answer);
  assert_int_equal(pg_world_stats(&world).server.usable, answer.limits.usable);
  pg_world_deinit(&world);
  return answer.limits;
}

static void the_servers_limits_are_those_of_our_role(void **state) {
  const struct pg_server *server = *state;
  PGconn *observer = pg_observer_open(server);
  pg_observer_run(observer,
                  "CREATE ROLE ordinary LOGIN; CREATE ROLE small LOGIN CONNECTION LIMIT 7");
  struct pg_server_limits limits = limits_of(state, __func__, server->user);
  assert_int_equal(limits.max_connections, 40);
  assert_int_equal(limits.usable, 40);
  assert_in_range(limits.version, 150000, 200000);
  assert_int_equal(limits_of(state, __func__, "ordinary").usable, 37);
  assert_int_equal(limits_of(state, __func__, "small").usable, 7);
  pg_observer_run(observer, "ALTER DATABASE auditstore CONNECTION LIMIT 11");
  assert_int_equal(limits_of(state, __func__, "ordinary").usable, 11);
  pg_observer_run(observer, "ALTER DATABASE auditstore CONNECTION LIMIT -1");
  PQfinish(observer);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connections_are_kept_ready_without_demand),
      cmocka_unit_test(a_replacement_is_made_before_the_old_one_ends),
      cmocka_unit_test(long_unused_connections_are_asked_before_use),
      cmocka_unit_test(a_full_server_lowers_the_ceiling_until_it_has_room),
      cmocka_unit_test(a_lowered_limit_closes_what_comes_back),
      cmocka_unit_test(other_session_settings_replace_the_connections),
      cmocka_unit_test(a_shorter_lifetime_holds_for_those_that_are_open),
      cmocka_unit_test(the_first_host_that_answers_is_taken),
      cmocka_unit_test(statements_may_stay_unprepared),
      cmocka_unit_test(the_servers_limits_are_those_of_our_role),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, pg_server_group_setup, pg_server_group_teardown);
}
