#include <string.h>

#include "pg/internal.h"

static bool send_after_preamble(struct pg_lease *conn, const char *script) {
  struct buf both;
  size_t size = strlen(conn->session.preamble) + strlen(script) + sizeof("; ");
  buf_init(&both, size);
  bool is_sent = buf_append_format(&both, "%s; ", conn->session.preamble) &&
                 buf_append(&both, script, strlen(script) + 1) &&
                 PQsendQuery(conn->pq, (const char *)buf_bytes(&both));
  buf_deinit(&both);
  /* Its result isn't the script's. */
  conn->pipeline.statement_count = -1;
  return is_sent;
}

static bool start(struct pg_lease *conn, const char *script) {
  if (conn->is_dead || !PQexitPipelineMode(conn->pq))
    return false;
  return conn->session.preamble ? send_after_preamble(conn, script)
                                : PQsendQuery(conn->pq, script) == 1;
}

void pg_run_script(struct pg_lease *conn, const char *script, int64_t deadline_us,
                   const struct pg_pipeline_cb *cb, void *arg) {
  struct pipeline *pipeline = &conn->pipeline;
  pg_pipeline_begin(conn);
  pipeline->cb = *cb;
  pipeline->arg = arg;
  pipeline->phase = PIPELINE_SCRIPT;
  if (!start(conn, script)) {
    pg_pipeline_lose_connection(conn);
    return;
  }
  pg_conn_arm(conn, deadline_us);
  pg_pipeline_flush(conn);
}

static void roll_back(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  if (!pipeline->is_refused) {
    pipeline->is_refused = true;
    pipeline->outcome.statement = pipeline->statement_count;
    error_set(&pipeline->outcome.err, ERR_INTERNAL, "the script left its transaction open");
  }
  pipeline->phase = PIPELINE_ROLLBACK;
  pipeline->is_flushed = false;
  if (PQsendQuery(conn->pq, "ROLLBACK"))
    pg_pipeline_flush(conn);
  else
    pg_pipeline_lose_connection(conn);
}

void pg_script_end(struct pg_lease *conn) {
  struct pipeline *pipeline = &conn->pipeline;
  bool is_idle = PQtransactionStatus(conn->pq) == PQTRANS_IDLE;
  if (!is_idle && pipeline->phase == PIPELINE_SCRIPT)
    roll_back(conn);
  else if (is_idle && pipeline->is_unconfirmed)
    pg_pipeline_doubt(conn);
  else if (!is_idle || !PQenterPipelineMode(conn->pq))
    pg_pipeline_lose(conn, ERR_INTERNAL, "the script's transaction can't be rolled back");
  else
    pg_pipeline_finish(conn, pipeline->is_refused ? PG_REFUSED : PG_OK);
}
