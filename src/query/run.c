#include "query/run.h"

#include "pg/binary.h"

#include <stdio.h>

/* The server stops the query by itself at the deadline, and this long is left for it to say so:
 * then the connection stays usable. */
#define ANSWER_GRACE_US 500000
/* And this long for a query that was given up to end by itself. */
#define ABANDONED_GRACE_US 500000

struct grpc_status *query_status_of(const struct query_run *run, const struct pg_outcome *outcome) {
  enum error_code code =
      outcome->kind == PG_REFUSED ? pg_error_code(outcome->sqlstate) : outcome->err.code;
  switch (code) {
  case ERR_TIMEOUT:
    return grpc_status_of_code(ERR_TIMEOUT, "the query took longer than its deadline or %s",
                               run->advice);
  case ERR_UNAVAILABLE:
  case ERR_EXHAUSTED:
    return grpc_status_of_code(code, "PostgreSQL can't answer at the moment");
  default:
    return grpc_status_of_code(ERR_INTERNAL, "the query failed (SQLSTATE %s)",
                               outcome->sqlstate[0] ? outcome->sqlstate : "unknown");
  }
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct query_run *run = arg;
  if (statement == 1 && !run->is_abandoned)
    run->on_rows(run->arg, result);
}

static void on_grace_closed(void *arg) {
  struct query_run *run = arg;
  run->on_gone(run->arg);
}

static void on_gone(void *arg) {
  struct query_run *run = arg;
  loop_timer_close(&run->grace, on_grace_closed, run);
}

static void on_grace_over(void *arg) {
  struct query_run *run = arg;
  struct pg_lease *conn = run->conn;
  run->conn = NULL;
  pg_abandon(conn, on_gone, run);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct query_run *run = arg;
  pg_release(run->conn);
  run->conn = NULL;
  if (run->is_abandoned)
    on_gone(run);
  else
    run->on_end(run->arg, outcome->kind == PG_OK ? NULL : query_status_of(run, outcome));
}

static void send_settings(const struct query_run *run) {
  static const Oid types[] = {PG_TEXT};
  static const struct pg_statement statement = {
      .name = "query_settings",
      .sql =
          "SELECT set_config('statement_timeout', $1, true),"
          "       set_config('max_parallel_workers_per_gather', '0', true),"
          "       set_config('jit', 'off', true)",
      .param_count = 1,
      .param_types = types};
  /* The first of them takes the place of the session's, which may be the shorter one. */
  int64_t limit_us = clock_monotonic_us(run->loop->clock) + pg_statement_timeout_us(run->pool);
  int ms = deadline_remaining_ms(run->loop->clock, deadline_min(run->deadline_us, limit_us));
  char text[16];
  /* 0 would mean no limit. */
  int len = snprintf(text, sizeof(text), "%d", ms > 0 ? ms : 1);
  const char *value = text;
  struct pg_params params = {.values = &value, .lengths = &len};
  pg_send(run->conn, &statement, &params);
}

static struct grpc_status *status_of_acquire(const struct query_run *run, enum error_code code) {
  if (code != ERR_TIMEOUT && code != ERR_EXHAUSTED)
    return grpc_status_of_code(ERR_UNAVAILABLE,
                               "PostgreSQL is out of reach, or the daemon is stopping");
  if (code == ERR_TIMEOUT && clock_monotonic_us(run->loop->clock) >= run->deadline_us)
    return grpc_status_of_code(ERR_TIMEOUT,
                               "no connection to PostgreSQL was free before the deadline");
  return grpc_status_of_code(ERR_EXHAUSTED, "no connection to PostgreSQL is free");
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  struct query_run *run = arg;
  run->waiter = NULL;
  if (!conn) {
    run->on_end(run->arg, status_of_acquire(run, err->code));
    return;
  }
  struct grpc_status *refusal = run->on_start ? run->on_start(run->arg) : NULL;
  if (refusal) {
    pg_release(conn);
    run->on_end(run->arg, refusal);
    return;
  }
  run->conn = conn;
  send_settings(run);
  struct pg_params params = sql_params(run->sql);
  pg_send(conn, sql_statement(run->sql), &params);
  pg_run(conn, run->deadline_us + ANSWER_GRACE_US, &cb, run);
}

void query_run_start(struct query_run *run, struct pg_pool *pool, const char *holder) {
  run->pool = pool;
  run->waiter = pg_acquire(pool, run->deadline_us, holder, on_acquired, run);
}

bool query_run_abandon(struct query_run *run) {
  if (run->waiter)
    pg_acquire_cancel(run->waiter);
  run->waiter = NULL;
  if (!run->conn)
    return false;
  run->is_abandoned = true;
  loop_timer_init(&run->grace, run->loop, on_grace_over, run);
  loop_timer_set(&run->grace, clock_monotonic_us(run->loop->clock) + ABANDONED_GRACE_US);
  return true;
}
