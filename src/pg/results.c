#include <stdio.h>
#include <string.h>

#include "pg/internal.h"

static const char *field(const PGresult *result, int code) {
  const char *text = PQresultErrorField(result, code);
  return text ? text : "";
}

static const struct pipeline_entry *current_entry(const struct pipeline *pipeline) {
  return pipeline->entry < pipeline->entry_count ? &pipeline->entries[pipeline->entry] : NULL;
}

static int current_statement(const struct pipeline *pipeline) {
  const struct pipeline_entry *entry = current_entry(pipeline);
  /* A script's preamble is none of its statements. */
  if (pipeline->statement_count < 0)
    return 0;
  /* An error at the sync (a deferred constraint) belongs to no statement: the last one is named. A
   * script has no entries: its statements are counted as they end. */
  if (entry)
    return entry->statement;
  return pipeline->statement_count > 0 && pipeline->entry_count > 0 ? pipeline->statement_count - 1
                                                                    : pipeline->statement_count;
}

/* ---- refusals ---- */

/* A plan that no longer fits the tables, a statement that is gone, a name that another has taken:
 * making it anew, under another name, mends it. */
static bool is_stale_plan(const struct pipeline_entry *entry, const char *sqlstate) {
  if (!entry)
    return false;
  if (entry->is_prepare)
    return strcmp(sqlstate, "42P05") == 0;
  return entry->was_prepared && (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "0A000") == 0 ||
                                 strcmp(sqlstate, "08P01") == 0);
}

/* A prepared statement is gone, or another's is there in its place: that is a pooler's doing. */
static const char *advice_on(const struct pipeline_entry *entry, const char *sqlstate) {
  bool is_of_prepared = entry && (entry->is_prepare || entry->is_named);
  return is_of_prepared ? pg_pooler_advice(sqlstate) : NULL;
}

static void describe(struct pg_outcome *outcome, const PGresult *result, enum error_code code,
                     const char *advice) {
  const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
  snprintf(outcome->sqlstate, sizeof(outcome->sqlstate), "%s", field(result, PG_DIAG_SQLSTATE));
  snprintf(outcome->constraint, sizeof(outcome->constraint), "%s", constraint);
  const char *hint = advice ? advice : field(result, PG_DIAG_MESSAGE_HINT);
  /* Without the detail: that holds the row's content. */
  error_set(&outcome->err, code, "%s (SQLSTATE %s%s%s)%s%s", field(result, PG_DIAG_MESSAGE_PRIMARY),
            outcome->sqlstate, constraint[0] ? ", constraint " : "", constraint,
            hint[0] ? ": " : "", hint);
}

static bool is_fatal(const PGresult *result) {
  const char *severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

static void take_error(struct pg_lease *conn, const PGresult *result) {
  struct pipeline *pipeline = &conn->pipeline;
  const struct pipeline_entry *entry = current_entry(pipeline);
  const char *sqlstate = field(result, PG_DIAG_SQLSTATE);
  if (entry && entry->is_prepare)
    pg_prepared_remove(&conn->prepared, entry->sql);
  /* Without a code it is libpq's own word: the connection is lost, or there was no memory for what
   * came, and then the result lacks rows. */
  if (sqlstate[0] == '\0') {
    pg_pipeline_lose_connection(conn);
    return;
  }
  if (pipeline->is_refused && !is_fatal(result))
    return;
  enum error_code code = pg_error_code(sqlstate);
  if (is_stale_plan(entry, sqlstate)) {
    pg_prepared_forget(&conn->prepared);
    code = ERR_UNAVAILABLE;
  }
  pg_conn_note_sqlstate(conn, sqlstate);
  pipeline->is_refused = true;
  pipeline->outcome.statement = current_statement(pipeline);
  pipeline->outcome.is_at_commit = !entry && pipeline->entry_count > 0;
  describe(&pipeline->outcome, result, code, advice_on(entry, sqlstate));
}

/* ---- results ---- */

static void take_success(struct pg_lease *conn, const PGresult *result) {
  struct pipeline *pipeline = &conn->pipeline;
  const struct pipeline_entry *entry = current_entry(pipeline);
  bool is_own =
      (entry && (entry->is_prepare || entry->is_preamble)) || pipeline->statement_count < 0;
  if (is_own || pipeline->is_refused || !pipeline->cb.on_result)
    return;
  pipeline->cb.on_result(pipeline->arg, current_statement(pipeline), result);
}

static void take_sync(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  if (PQtransactionStatus(conn->pq) != PQTRANS_IDLE)
    pg_pipeline_lose(conn, ERR_INTERNAL, "a pipeline left a transaction open");
  else if (pipeline->is_unconfirmed)
    pg_pipeline_doubt(conn);
  else
    pg_pipeline_finish(conn, pipeline->is_refused ? PG_REFUSED : PG_OK);
}

static void take_result(struct pg_lease *conn, const PGresult *result) {
  struct pipeline *pipeline = &conn->pipeline;
  const struct pipeline_entry *entry = current_entry(pipeline);
  pipeline->has_result = true;
  switch (PQresultStatus(result)) {
  case PGRES_TUPLES_OK:
  case PGRES_COMMAND_OK:
  case PGRES_EMPTY_QUERY:
    take_success(conn, result);
    break;
  case PGRES_FATAL_ERROR:
    take_error(conn, result);
    break;
  case PGRES_PIPELINE_ABORTED:
    if (entry && entry->is_prepare)
      pg_prepared_remove(&conn->prepared, entry->sql);
    break;
  case PGRES_PIPELINE_SYNC:
    take_sync(conn);
    break;
  default:
    /* libpq would hand out a COPY result again and again. */
    pg_pipeline_lose(conn, ERR_INTERNAL, "a statement began a COPY, which a pipeline can't take");
    break;
  }
}

/* NULL came: the results of one entry are over. False: there is nothing to go on with. */
static bool next_entry(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  if (pipeline->phase != PIPELINE_RUNNING) {
    if (PQstatus(conn->pq) == CONNECTION_OK)
      pg_script_end(conn);
    return false;
  }
  bool is_ended = pipeline->has_result;
  pipeline->has_result = false;
  if (is_ended && pipeline->entry < pipeline->entry_count)
    pipeline->entry++;
  return is_ended;
}

static bool expects_results(const struct pg_lease *conn) {
  if (!pg_conn_is_busy(conn))
    return false;
  enum pipeline_phase phase = conn->pipeline.phase;
  return phase == PIPELINE_RUNNING || phase == PIPELINE_SCRIPT || phase == PIPELINE_ROLLBACK;
}

void pg_results_read(struct pg_lease *conn) {
  /* PQgetResult blocks when the next result isn't complete. */
  while (expects_results(conn) && !PQisBusy(conn->pq)) {
    PGresult *result = PQgetResult(conn->pq);
    if (!result) {
      if (!next_entry(conn))
        return;
      continue;
    }
    take_result(conn, result);
    PQclear(result);
    if (pg_conn_is_busy(conn) && conn->pipeline.phase == PIPELINE_SCRIPT)
      conn->pipeline.statement_count++;
  }
}
