#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "pg/internal.h"

/* ---- how a dial ends ---- */

void pg_dial_fail(struct pg_lease *conn, enum pg_dial_failure why, const struct error *err) {
  pg_governor_failed(conn, why, err);
  if (conn->pq) {
    pg_conn_close(conn, PG_CLOSE_BROKEN);
    return;
  }
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_conn_set_state(conn, CONN_EMPTY);
}

static void give_up_as_libpq_says(struct pg_lease *conn) {
  const char *message = PQerrorMessage(conn->pq);
  char sqlstate[6];
  char text[PG_DIAL_TEXT_SIZE];
  struct error err;
  pg_sqlstate_of_message(message, sqlstate);
  if (pg_pooler_refused_options(conn, sqlstate, message)) {
    /* No failure of the server's: whoever waits gets another dial at once. */
    pg_conn_close(conn, PG_CLOSE_BROKEN);
    return;
  }
  pg_one_line(message, text, sizeof(text));
  error_set(&err, ERR_UNAVAILABLE, "%s", text);
  memcpy(conn->sqlstate, sqlstate, sizeof(conn->sqlstate));
  pg_dial_fail(conn, pg_dial_failure_of(sqlstate, message), &err);
}

static void succeed(struct pg_lease *conn) {
  PQsetErrorVerbosity(conn->pq, PQERRORS_DEFAULT);
  if (PQsetnonblocking(conn->pq, 1) != 0 || !PQenterPipelineMode(conn->pq) ||
      !pg_conn_watch(conn, UV_READABLE)) {
    give_up_as_libpq_says(conn);
    return;
  }
  conn->born_us = pg_pool_now(conn->pool);
  conn->jitter_share = random_below(PG_JITTER_SHARES);
  pg_conn_set_death(conn);
  pg_session_start(conn);
}

void pg_dial_settle(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  int64_t now_us = pg_pool_now(pool);
  pg_conn_arm(conn, CLOCK_NEVER);
  histogram_add(&pool->counters.connect_us, now_us - conn->dialed_us);
  pg_governor_succeeded(pool);
  pg_pulse_note_endpoint(conn);
  pg_pool_put_idle(pool, conn, now_us);
}

/* ---- connecting ---- */

/* The commit is on this server's disk, and somebody ended its wait for the standby: all that says
 * so is a warning. Where in the server's source it comes from is in no language. */
static void note_standby(struct pg_lease *conn, const PGresult *notice) {
  const char *function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);
  if (function && strcmp(function, "SyncRepWaitForLSN") == 0)
    conn->pipeline.is_unconfirmed = true;
}

static void on_notice(void *arg, const PGresult *result) {
  struct pg_lease *conn = arg;
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (!sqlstate)
    return;
  note_standby(conn, result);
  /* While nothing runs, libpq turns the server's farewell into a notice. */
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  pg_conn_note_sqlstate(conn, sqlstate);
  bool is_shutdown = pg_sqlstate_farewell(sqlstate) == PG_CLOSE_SERVER_SHUTDOWN;
  if (!is_shutdown && (!severity || strcmp(severity, "FATAL") != 0))
    return;
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  snprintf(conn->fatal, sizeof(conn->fatal), "%s (SQLSTATE %s)", text ? text : "?", sqlstate);
  pg_conn_condemn(conn, PG_CLOSE_BROKEN);
}

static void watch_or_give_up(struct pg_lease *conn, int events) {
  if (pg_conn_watch(conn, events))
    return;
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "the dial's socket can't be watched");
  pg_dial_fail(conn, PG_DIAL_OTHER, &err);
}

void pg_dial_event(struct pg_lease *conn) {
  /* The call may close the socket and open the next under the same number. */
  if (conn->watch)
    pg_watch_stop(conn->watch);
  switch (PQconnectPoll(conn->pq)) {
  case PGRES_POLLING_READING:
    watch_or_give_up(conn, UV_READABLE);
    break;
  case PGRES_POLLING_WRITING:
    watch_or_give_up(conn, UV_WRITABLE);
    break;
  case PGRES_POLLING_OK:
    succeed(conn);
    break;
  default:
    give_up_as_libpq_says(conn);
    break;
  }
}

static void connect_to(struct pg_lease *conn, const struct pg_endpoints *endpoints) {
  struct pg_pool *pool = conn->pool;
  struct error err;
  const struct pg_params_wish wish = {.first = pool->governor.shift,
                                      .omits_options = pool->sessions.omits_options};
  PGconn *pq = pg_params_connect(pool->config, endpoints, wish, &err);
  if (!pq) {
    pg_dial_fail(conn, PG_DIAL_OTHER, &err);
    return;
  }
  conn->pq = pq;
  conn->session.omitted_options = wish.omits_options;
  /* The code of a refused login is told in the text alone, and only if asked for. */
  PQsetErrorVerbosity(pq, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(pq, on_notice, conn);
  pg_conn_set_state(conn, CONN_CONNECTING);
  if (PQstatus(pq) == CONNECTION_BAD)
    give_up_as_libpq_says(conn);
  else
    watch_or_give_up(conn, UV_WRITABLE);
}

/* ---- resolving ---- */

static void on_looked_up(void *arg, const struct pg_endpoints *endpoints, const char *problem) {
  struct pg_lease *conn = arg;
  conn->lookup = NULL;
  if (conn->is_dial_failed) {
    pg_conn_set_state(conn, CONN_EMPTY);
    return;
  }
  if (endpoints) {
    connect_to(conn, endpoints);
    return;
  }
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "database.host: %s", problem);
  pg_dial_fail(conn, PG_DIAL_DNS, &err);
}

static void begin(struct pg_lease *conn) {
  conn->generation = conn->pool->generation;
  conn->is_dead = false;
  conn->is_dial_failed = false;
  conn->is_address_gone = false;
  conn->farewell = PG_CLOSE_BROKEN;
  conn->sqlstate[0] = '\0';
  conn->fatal[0] = '\0';
  conn->uses = 0;
  conn->prepared = (struct prepared){0};
  pg_session_reset(conn);
}

int64_t pg_dial_deadline(const struct pg_lease *conn) {
  return deadline_after(conn->dialed_us, conn->pool->config->connect_timeout_us);
}

void pg_dial_start(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  begin(conn);
  conn->dialed_us = pg_pool_now(pool);
  pg_conn_set_state(conn, CONN_RESOLVING);
  pg_conn_arm(conn, pg_dial_deadline(conn));
  conn->lookup = pg_lookup_start(pool->loop, pool->config, on_looked_up, conn);
}

void pg_dial_timeout(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "%s \"%s\": no answer within connect_timeout (%.3g s)",
            conn->state == CONN_RESOLVING ? "looking up" : "connecting to", pool->config->host,
            (double)pool->config->connect_timeout_us / CLOCK_US_PER_S);
  /* One of several hosts that takes packets and never answers must not keep us from the others. */
  pool->governor.shift++;
  if (conn->pq) {
    pg_dial_fail(conn, PG_DIAL_TIMEOUT, &err);
    return;
  }
  /* A look-up can't be stopped. Its slot stays taken until it ends: so a resolver that hangs gets
   * max_connecting questions at most. */
  conn->is_dial_failed = true;
  pg_governor_failed(conn, PG_DIAL_TIMEOUT, &err);
}

void pg_dial_abort(struct pg_lease *conn) {
  if (conn->pq) {
    pg_conn_close(conn, PG_CLOSE_SHUTDOWN);
    return;
  }
  if (conn->lookup)
    pg_lookup_abandon(conn->lookup);
  conn->lookup = NULL;
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_conn_set_state(conn, CONN_EMPTY);
}
