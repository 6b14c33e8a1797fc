#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/internal.h"

enum { PARAMS_MAX = 128, ENTRIES_FIRST = 16 };

static const int binary_formats[PARAMS_MAX] = {[0 ... PARAMS_MAX - 1] = 1};

/* ---- life ---- */

static void on_done_task(void *arg) {
  struct pg_lease *conn = arg;
  struct pipeline *pipeline = &conn->pipeline;
  const struct pg_outcome outcome = pipeline->outcome;
  pipeline->phase = PIPELINE_NONE;
  /* A drain that cut this lease waits for its owner to be told. */
  if (conn->is_dead)
    pg_pool_kick(conn->pool);
  pipeline->cb.on_done(pipeline->arg, &outcome);
}

void pg_pipeline_init(struct pg_lease *conn) {
  conn->pipeline.done_task = (struct loop_task){.cb = on_done_task, .arg = conn};
}

void pg_pipeline_reset(struct pg_lease *conn) {
  loop_cancel(conn->pool->loop, &conn->pipeline.done_task);
  conn->pipeline.phase = PIPELINE_NONE;
}

void pg_pipeline_deinit(struct pg_lease *conn) {
  pg_pipeline_reset(conn);
  free(conn->pipeline.entries);
}

void pg_pipeline_begin(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  assert(pg_conn_is_busy(conn));
  assert(pipeline->phase == PIPELINE_NONE);
  pipeline->phase = PIPELINE_QUEUING;
  pipeline->entry_count = 0;
  pipeline->entry = 0;
  pipeline->statement_count = 0;
  pipeline->has_result = false;
  pipeline->is_broken = conn->is_dead;
  pipeline->is_flushed = false;
  pipeline->is_refused = false;
  pipeline->is_unconfirmed = false;
  pipeline->outcome.sqlstate[0] = '\0';
  pipeline->outcome.constraint[0] = '\0';
  pipeline->outcome.statement = 0;
  pipeline->outcome.is_at_commit = false;
  pipeline->outcome.is_in_doubt = false;
  pipeline->outcome.err.code = ERR_OK;
  pipeline->outcome.err.text[0] = '\0';
}

/* ---- the end ---- */

void pg_pipeline_finish(struct pg_lease *conn, enum pg_outcome_kind kind) {
  struct pipeline *pipeline = &conn->pipeline;
  pipeline->phase = PIPELINE_DONE;
  pipeline->outcome.kind = kind;
  if (kind != PG_OK)
    pg_refusal_note(conn);
  pg_conn_arm(conn, CLOCK_NEVER);
  loop_defer(conn->pool->loop, &pipeline->done_task);
}

static bool is_under_way(const struct pipeline *pipeline) {
  return pipeline->phase == PIPELINE_RUNNING || pipeline->phase == PIPELINE_SCRIPT ||
         pipeline->phase == PIPELINE_ROLLBACK;
}

static enum pg_close_reason farewell_for(enum error_code code) {
  switch (code) {
  case ERR_TIMEOUT:
    return PG_CLOSE_DEADLINE;
  case ERR_INTERNAL:
    return PG_CLOSE_PROTOCOL;
  case ERR_CANCELED:
    return PG_CLOSE_SHUTDOWN;
  default:
    return PG_CLOSE_BROKEN;
  }
}

void pg_pipeline_lose(struct pg_lease *conn, enum error_code code, const char *text) {
  struct pipeline *pipeline = &conn->pipeline;
  pg_conn_condemn(conn, farewell_for(code));
  pg_conn_unwatch(conn);
  if (!is_under_way(pipeline))
    return;
  pipeline->outcome.is_in_doubt = pipeline->is_flushed;
  error_set(&pipeline->outcome.err, code, "%s", text);
  pg_pipeline_finish(conn, PG_LOST);
}

void pg_pipeline_lose_connection(struct pg_lease *conn) {
  const char *sqlstate = conn->pipeline.outcome.sqlstate;
  char text[PG_DIAL_TEXT_SIZE];
  enum error_code code = conn->pipeline.is_refused ? pg_error_code(sqlstate) : ERR_UNAVAILABLE;
  /* The server's own words say more than that libpq found the socket closed. */
  if (conn->pipeline.is_refused)
    snprintf(text, sizeof(text), "%s", conn->pipeline.outcome.err.text);
  else if (conn->fatal[0])
    snprintf(text, sizeof(text), "%s", conn->fatal);
  else
    pg_one_line(PQerrorMessage(conn->pq), text, sizeof(text));
  pg_pipeline_lose(conn, code, text[0] ? text : "the server ends this connection");
}

void pg_pipeline_doubt(struct pg_lease *conn) {
  pg_conn_condemn(conn, PG_CLOSE_UNCONFIRMED);
  pg_pipeline_lose(
      conn, ERR_UNAVAILABLE,
      "committed on this server, but the wait for the synchronous standby was cancelled");
  conn->pipeline.outcome.is_in_doubt = true;
}

void pg_pipeline_timeout(struct pg_lease *conn) {
  pg_pipeline_lose(conn, ERR_TIMEOUT, "no answer from the database by the deadline");
}

/* ---- sending ---- */

static void push_entry(struct pipeline *pipeline, struct pipeline_entry entry) {
  if (pipeline->entry_count == pipeline->entry_capacity) {
    int capacity = pipeline->entry_capacity ? 2 * pipeline->entry_capacity : ENTRIES_FIRST;
    pipeline->entries = xrealloc(pipeline->entries, (size_t)capacity * sizeof(*pipeline->entries));
    pipeline->entry_capacity = capacity;
  }
  pipeline->entries[pipeline->entry_count++] = entry;
}

static bool send_prepare(struct pg_lease *conn, const struct pg_statement *sql, const char *name,
                         int index) {
  if (!PQsendPrepare(conn->pq, name, sql->sql, sql->param_count, sql->param_types))
    return false;
  push_entry(&conn->pipeline,
             (struct pipeline_entry){.statement = index, .is_prepare = true, .sql = sql});
  return true;
}

static bool send_named(struct pg_lease *conn, const struct pg_statement *sql,
                       const struct pg_params *params, int index, bool *ret_was_prepared) {
  char name[PG_NAME_SIZE];
  *ret_was_prepared = pg_prepared_find(&conn->prepared, sql, name);
  if (!*ret_was_prepared) {
    if (!send_prepare(conn, sql, name, index))
      return false;
    pg_prepared_add(&conn->prepared, sql);
  }
  return PQsendQueryPrepared(conn->pq, name, sql->param_count, params->values, params->lengths,
                             binary_formats, 1);
}

static bool send_statement(struct pg_lease *conn, const struct pg_statement *sql,
                           const struct pg_params *params, int index) {
  struct pipeline_entry entry = {.statement = index, .sql = sql};
  entry.is_named = sql->name && conn->pool->config->prepared_statements &&
                   !conn->session.is_pooled && conn->prepared.count < PG_PREPARED_MAX;
  bool is_sent = entry.is_named
                     ? send_named(conn, sql, params, index, &entry.was_prepared)
                     : PQsendQueryParams(conn->pq, sql->sql, sql->param_count, sql->param_types,
                                         params->values, params->lengths, binary_formats, 1) == 1;
  if (is_sent)
    push_entry(&conn->pipeline, entry);
  return is_sent;
}

/* Behind a pooler the transaction may get a session that others have used. */
static bool send_preamble(struct pg_lease *conn) {
  const char *preamble = conn->session.preamble;
  if (!preamble || conn->pipeline.entry_count > 0)
    return true;
  if (!PQsendQueryParams(conn->pq, preamble, 0, NULL, NULL, NULL, NULL, 1))
    return false;
  push_entry(&conn->pipeline, (struct pipeline_entry){.is_preamble = true});
  return true;
}

void pg_send(struct pg_lease *conn, const struct pg_statement *statement,
             const struct pg_params *params) {
  static const struct pg_params none = {0};
  struct pipeline *pipeline = &conn->pipeline;
  if (pipeline->phase == PIPELINE_NONE)
    pg_pipeline_begin(conn);
  assert(pipeline->phase == PIPELINE_QUEUING);
  assert(statement->param_count <= PARAMS_MAX);
  int index = pipeline->statement_count++;
  if (!pipeline->is_broken &&
      !(send_preamble(conn) && send_statement(conn, statement, params ? params : &none, index)))
    pipeline->is_broken = true;
  if (!conn->is_dead)
    pg_conn_check(conn);
}

/* The rest of it, and what goes wrong, is seen to by pg_run(). */
void pg_push(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  assert(pipeline->phase == PIPELINE_QUEUING);
  if (!pipeline->is_broken && PQflush(conn->pq) < 0)
    pipeline->is_broken = true;
  if (!conn->is_dead)
    pg_conn_check(conn);
}

void pg_pipeline_flush(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  if (!pipeline->is_flushed) {
    int left = PQflush(conn->pq);
    pipeline->is_flushed = left != 1;
  }
  if (!pg_conn_check(conn)) {
    pg_pipeline_lose_connection(conn);
    return;
  }
  /* While output is stuck input must be read as well, or both sides wait for the other. */
  if (!pg_conn_watch(conn, pipeline->is_flushed ? UV_READABLE : UV_READABLE | UV_WRITABLE))
    pg_pipeline_lose(conn, ERR_INTERNAL, "the connection's socket can't be watched");
}

void pg_run(struct pg_lease *conn, int64_t deadline_us, const struct pg_pipeline_cb *cb,
            void *arg) {
  struct pipeline *pipeline = &conn->pipeline;
  const struct config_database *config = conn->pool->config;
  if (pipeline->phase == PIPELINE_NONE)
    pg_pipeline_begin(conn);
  assert(pipeline->phase == PIPELINE_QUEUING);
  pipeline->cb = *cb;
  pipeline->arg = arg;
  pipeline->phase = PIPELINE_RUNNING;
  if (pipeline->is_broken || conn->is_dead || !PQpipelineSync(conn->pq)) {
    pg_pipeline_lose_connection(conn);
    return;
  }
  int64_t limit_us =
      deadline_after(deadline_after(pg_pool_now(conn->pool), config->statement_timeout_us),
                     config->query_grace_us);
  pg_conn_arm(conn, deadline_min(deadline_us, limit_us));
  pg_pipeline_flush(conn);
}

/* ---- the socket ---- */

/* libpq that has no memory for the end of a pipeline drops it, and waits for one ever after. What
 * the server says begins with its severity, never like this. */
static bool has_lost_the_end(const struct pg_lease *conn) {
  static const char words[] = "out of memory";
  return PQisBusy(conn->pq) && strncmp(PQerrorMessage(conn->pq), words, sizeof(words) - 1) == 0;
}

void pg_pipeline_event(struct pg_lease *conn, int status, int events) {
  struct pipeline *pipeline = &conn->pipeline;
  bool is_alive = true;
  if (status < 0 || events & UV_READABLE)
    is_alive = pg_conn_consume(conn);
  if (is_under_way(pipeline))
    pg_results_read(conn);
  else
    (void)PQisBusy(conn->pq);
  /* A callback for a result may have given the lease back. */
  if (!pg_conn_is_busy(conn) || pipeline->phase == PIPELINE_DONE)
    return;
  if (!is_alive || has_lost_the_end(conn) || !pg_conn_check(conn))
    pg_pipeline_lose_connection(conn);
  else if (is_under_way(pipeline))
    pg_pipeline_flush(conn);
}
