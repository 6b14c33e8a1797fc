/*
 * pg_fixture: a server of the test's own, an observer, and a loop with a pool whose wall clock the
 * test sets.
 */
#pragma once

#include "base/loop.h"
#include "pg/pool.h"
#include "support/pg_server.h"

struct pg_fixture {
  struct pg_server server;
  struct config_database database;
  struct clock clock; /* monotonic time is real */
  int64_t wall_us;
  uv_loop_t uv;
  struct loop loop;
  struct pg_pool *pool;
  PGconn *observer;
};

/* Once per program. */
void pg_fixture_start(struct pg_fixture *f);
void pg_fixture_remove(struct pg_fixture *f);

/* Around each test: an empty schema "public", a loop and a pool. */
void pg_fixture_open(struct pg_fixture *f);
void pg_fixture_close(struct pg_fixture *f);

/* The four of them as cmocka wants them; *state is a struct pg_fixture. */
int pg_fixture_group_setup(void **state);
int pg_fixture_group_teardown(void **state);
int pg_fixture_setup(void **state);
int pg_fixture_teardown(void **state);

/* Runs the loop until *flag; fails the test after 30 s. */
void pg_fixture_run_until(struct pg_fixture *f, const bool *flag);

/* Runs the loop until the observer's question is answered with `at_least`; fails the test after
 * 30 s. */
void pg_fixture_wait_for(struct pg_fixture *f, const char *sql, int64_t at_least);

/* How many wait for a lock of any kind. */
#define PG_FIXTURE_WAITING "SELECT count(*) FROM pg_locks WHERE NOT granted"

/* Now, plus 30 s. */
int64_t pg_fixture_deadline(const struct pg_fixture *f);

/* Makes the tables, by schema_migrate(). */
void pg_fixture_migrate(struct pg_fixture *f);
