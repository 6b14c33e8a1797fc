/*
 * run: one reading statement on a connection of the pool, within a deadline that the server keeps
 * as well.
 */
#pragma once

#include "base/clock.h"
#include "grpc/status.h"
#include "query/sql.h"

/* Embedded; zeroed before first use. */
struct query_run {
  struct pg_waiter *waiter; /* while queued for a connection */
  struct pg_lease *conn;    /* lease */
  const struct clock *clock;
  struct sql *sql;
  struct pg_pool *pool; /* borrowed; set by query_run_start() */
  int64_t deadline_us;
  void (*on_rows)(void *arg, const PGresult *result);
  void (*on_end)(void *arg, struct grpc_status *status);
  void *arg;
};

/* Runs the statement. `on_rows` gets the result, borrowed; then `on_end` runs once, with NULL, or
 * with a status that it owns. Neither runs inside this call. The caller has filled sql, clock,
 * deadline_us, the callbacks and arg. */
void query_run_start(struct query_run *run, struct pg_pool *pool, const char *holder);

/* Drops a run that hasn't ended: no callback will run. */
void query_run_cancel(struct query_run *run);

/* What a caller is told of a statement that failed: nothing of PostgreSQL's own text. */
struct grpc_status *query_status_of(const struct pg_outcome *outcome);
