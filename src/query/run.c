#include "query/run.h"

#include "pg/binary.h"

#include <stdio.h>

/* The server stops the query by itself at the deadline, and this long is left for it to say so:
 * then the connection stays usable. */
#define ANSWER_GRACE_US 500000

struct grpc_status *query_status_of(const struct pg_outcome *outcome) {
  enum error_code code =
      outcome->kind == PG_REFUSED ? pg_error_code(outcome->sqlstate) : outcome->err.code;
  switch (code) {
  case ERR_TIMEOUT:
    return grpc_status_of_code(ERR_TIMEOUT,
                               "the query took longer than its deadline or query.timeout: "
                               "narrow its filter");
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
  if (statement == 1)
    run->on_rows(run->arg, result);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct query_run *run = arg;
  struct grpc_status *status = outcome->kind == PG_OK ? NULL : query_status_of(outcome);
  pg_release(run->conn);
  run->conn = NULL;
  run->on_end(run->arg, status);
}

static void send_timeout(const struct query_run *run) {
  static const Oid types[] = {PG_TEXT};
  static const struct pg_statement statement = {
      .name = "query_timeout",
      .sql = "SELECT set_config('statement_timeout', $1, true)",
      .param_count = 1,
      .param_types = types};
  /* This setting takes the place of the session's, which may be the shorter one. */
  int64_t limit_us = clock_monotonic_us(run->clock) + pg_statement_timeout_us(run->pool);
  int ms = deadline_remaining_ms(run->clock, deadline_min(run->deadline_us, limit_us));
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
  if (code == ERR_TIMEOUT && clock_monotonic_us(run->clock) >= run->deadline_us)
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
  run->conn = conn;
  send_timeout(run);
  struct pg_params params = sql_params(run->sql);
  pg_send(conn, sql_statement(run->sql), &params);
  pg_run(conn, run->deadline_us + ANSWER_GRACE_US, &cb, run);
}

void query_run_start(struct query_run *run, struct pg_pool *pool, const char *holder) {
  run->pool = pool;
  run->waiter = pg_acquire(pool, run->deadline_us, holder, on_acquired, run);
}

void query_run_cancel(struct query_run *run) {
  if (run->waiter)
    pg_acquire_cancel(run->waiter);
  if (run->conn)
    pg_release(run->conn);
  run->waiter = NULL;
  run->conn = NULL;
}
