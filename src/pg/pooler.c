#include <string.h>

#include "base/log.h"
#include "pg/internal.h"

/* ---- settings with the log-in ---- */

/* What poolers say to the parameter "options". */
bool pg_pooler_refused_options(struct pg_lease *conn, const char *sqlstate, const char *message) {
  struct pg_session_memory *sessions = &conn->pool->sessions;
  bool is_refused = (strcmp(sqlstate, "08P01") == 0 || strcmp(sqlstate, "0A000") == 0) &&
                    strstr(message, "options") != NULL;
  if (!is_refused || conn->session.omitted_options)
    return false;
  if (!sessions->omits_options)
    log_info("the database takes no settings with the log-in: they are made after it",
             KV("sqlstate", sqlstate));
  sessions->omits_options = true;
  return true;
}

/* ---- transactions ---- */

/* The script leaves its transaction open, the pipeline rolls that back and says so: this is what is
 * hoped for. A pooler that gives each statement another session cuts us off instead. */
static void on_tried(void *arg, const struct pg_outcome *outcome) {
  struct pg_lease *conn = arg;
  struct error err;
  bool is_fine =
      outcome->kind == PG_OK || (outcome->kind == PG_REFUSED && outcome->sqlstate[0] == '\0');
  if (is_fine) {
    pg_dial_settle(conn);
    return;
  }
  if (strcmp(outcome->sqlstate, "08P01") != 0) {
    pg_dial_fail(conn, pg_dial_failure_of(outcome->sqlstate, outcome->err.text), &outcome->err);
    return;
  }
  error_set(&err, ERR_UNAVAILABLE,
            "the pooler takes no transactions (%s): set its pool_mode to transaction or session "
            "for this database",
            outcome->err.text);
  pg_dial_fail(conn, PG_DIAL_SESSION, &err);
}

void pg_pooler_probe(struct pg_lease *conn) {
  static const struct pg_pipeline_cb cb = {.on_done = on_tried};
  pg_run_script(conn, "BEGIN", pg_dial_deadline(conn), &cb, conn);
}

/* ---- prepared statements ---- */

const char *pg_pooler_advice(const char *sqlstate) {
  static const char *const codes[] = {"42P05", "26000", "08P01"};
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
    if (strcmp(codes[i], sqlstate) == 0)
      return "a pooler that shares sessions: set database.prepared_statements to off";
  }
  return NULL;
}
