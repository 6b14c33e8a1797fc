/*
 * pg_world: a loop, a pool on a private PostgreSQL and an observer: what every test of the database
 * needs. A condition is waited for by running the loop, never by sleeping. Failures end the test.
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "pg/pool.h"
#include "support/pg_server.h"

struct pg_world {
  uv_loop_t uv;
  struct loop loop;
  uv_timer_t tick; /* so that conditions are looked at when nothing happens */
  struct config_database config;
  struct pg_pool *pool; /* NULL until pg_world_open() */
  PGconn *observer;
  const struct pg_server *server;
};

/* The config can be changed before pg_world_open(). */
void pg_world_init(struct pg_world *world, const struct pg_server *server,
                   const char *application_name);
void pg_world_open(struct pg_world *world);

/* Drains the pool if that wasn't done, and checks that the server knows none of its connections. */
void pg_world_deinit(struct pg_world *world);

int64_t pg_world_now(const struct pg_world *world);

/* Runs the loop until `is_met` says so, or fails the test after 20 s. */
typedef bool pg_world_condition(void *arg);
void pg_world_wait(struct pg_world *world, pg_world_condition *is_met, void *arg);

/* Runs the loop for so long: to show that something does not happen. */
void pg_world_run_for(struct pg_world *world, int64_t span_us);

/* Waits for a lease; fails the test when there is an error. */
struct pg_lease *pg_world_acquire(struct pg_world *world);

void pg_world_acquire_all(struct pg_world *world, struct pg_lease **ret_conns, int count);
void pg_world_release_all(struct pg_lease **conns, int count);

struct pg_pool_stats pg_world_stats(const struct pg_world *world);

/* Of all reasons. */
int64_t pg_world_failures(const struct pg_world *world);
int64_t pg_world_closed(const struct pg_world *world);

/* Waits until the pool has so many connections open. */
void pg_world_wait_open(struct pg_world *world, int count);

/* A condition for pg_world_wait(), `arg` being the world: nothing is dialled or closed. */
bool pg_world_is_settled(void *arg);

/* Adds a statement without parameters to the lease's pipeline. */
void pg_world_send(struct pg_lease *conn, const char *sql);

/* Drains with that deadline and waits until it is done. */
void pg_world_drain(struct pg_world *world, int64_t deadline_us);

/* The outcome of one pipeline or script, and what it returned. */
struct pg_world_run {
  bool is_done;
  struct pg_outcome outcome;
  int result_count;
  int64_t value; /* the first int8 of the last result that has one */
  int rows;      /* of all results */
};

/* Ends the pipeline with pg_run() and waits for its end. */
void pg_world_finish(struct pg_world *world, struct pg_lease *conn, int64_t deadline_us,
                     struct pg_world_run *ret_run);
void pg_world_script(struct pg_world *world, struct pg_lease *conn, const char *script,
                     struct pg_world_run *ret_run);

/* One statement without parameters, alone in its pipeline. */
void pg_world_execute(struct pg_world *world, struct pg_lease *conn,
                      const struct pg_statement *statement, struct pg_world_run *ret_run);

/* The callbacks those use, `arg` being a zeroed struct pg_world_run. */
extern const struct pg_pipeline_cb pg_world_run_cb;

/* One statement without parameters that returns an int8; the test fails when it does not. */
int64_t pg_world_int(struct pg_world *world, struct pg_lease *conn, const char *sql);
