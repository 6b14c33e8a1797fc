/*
 * run: one reading statement on a connection of the pool, within a deadline that the server keeps
 * as well. It has one of PostgreSQL's processes, not its parallel workers, which would be as many
 * cores as there are.
 *
 * A run that is given up goes on for a moment: most end within it, and their connection with them
 * is as good as before. One that doesn't has its connection closed, and isn't over before
 * PostgreSQL has ended it: whoever gives up queries has no more of them under way than whoever
 * waits.
 */
#pragma once

#include "base/loop.h"
#include "grpc/status.h"
#include "query/sql.h"

/* Embedded; zeroed before first use. */
struct query_run {
  struct pg_waiter *waiter; /* while queued for a connection */
  struct pg_lease *conn;    /* lease */
  struct loop *loop;
  struct sql *sql;
  struct pg_pool *pool; /* borrowed; set by query_run_start() */
  int64_t deadline_us;
  bool is_abandoned;
  struct loop_timer grace; /* of one that is abandoned */
  const char *advice;      /* how to ask less, for the one whose query takes too long */
  struct grpc_status *(*on_start)(void *arg); /* may be NULL */
  void (*on_rows)(void *arg, const PGresult *result);
  void (*on_end)(void *arg, struct grpc_status *status);
  loop_task_cb *on_gone;
  void *arg;
};

/* Runs the statement. `on_start` is asked once there is a connection for it: a status, owned by the
 * run, is its end before anything is sent. `on_rows` gets the result, borrowed; then `on_end` runs
 * once, with NULL, or with a status that it owns. Neither runs inside this call. The caller has
 * filled sql, loop, deadline_us, advice, the callbacks and arg. */
void query_run_start(struct query_run *run, struct pg_pool *pool, const char *holder);

/* Gives up a run that hasn't ended: neither on_rows nor on_end will run. False: nothing of it is
 * left. True: PostgreSQL is at work on it; `on_gone` runs once, from the loop, when it no longer
 * is. The run and its sql must stay until then. */
bool query_run_abandon(struct query_run *run);

/* What a caller is told of a statement that failed: nothing of PostgreSQL's own text. */
struct grpc_status *query_status_of(const struct query_run *run, const struct pg_outcome *outcome);
