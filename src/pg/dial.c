#include <assert.h>
#include <string.h>

#include "pg/internal.h"

/* ---- how a dial ends ---- */

static void give_up(struct pg_lease *conn, const char *sqlstate, const struct error *err) {
  pg_governor_failed(conn->pool, sqlstate, err);
  if (conn->state == CONN_CONNECTING && conn->pq) {
    pg_conn_close(conn);
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
  pg_one_line(message, text, sizeof(text));
  error_set(&err, ERR_UNAVAILABLE, "%s", text);
  give_up(conn, sqlstate, &err);
}

/* Up to a tenth early, so that connections made together do not all end together. */
static int64_t draw_death(const struct pg_pool *pool) {
  int64_t lifetime_us = pool->config->conn_max_lifetime_us;
  if (lifetime_us == CLOCK_NEVER)
    return CLOCK_NEVER;
  return pg_after(pg_pool_now(pool), lifetime_us - pg_random_below(lifetime_us / 10));
}

static void succeed(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  PQsetErrorVerbosity(conn->pq, PQERRORS_DEFAULT);
  if (PQsetnonblocking(conn->pq, 1) != 0 || !PQenterPipelineMode(conn->pq) ||
      !pg_conn_watch(conn, UV_READABLE)) {
    give_up_as_libpq_says(conn);
    return;
  }
  conn->die_at_us = draw_death(pool);
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_governor_succeeded(pool);
  pg_pool_put_idle(pool, conn);
}

/* ---- connecting ---- */

static void on_notice(void *arg, const PGresult *result) {
  struct pg_lease *conn = arg;
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (!sqlstate)
    return;
  /* While nothing runs, libpq turns the server's farewell into a notice. */
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (pg_sqlstate_is_shutdown(sqlstate) || (severity && strcmp(severity, "FATAL") == 0))
    conn->is_dead = true;
  pg_conn_note_sqlstate(conn, sqlstate);
}

static void watch_or_give_up(struct pg_lease *conn, int events) {
  if (pg_conn_watch(conn, events))
    return;
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "the dial's socket can't be watched");
  give_up(conn, "", &err);
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

static void connect_to(struct pg_lease *conn, const struct addrinfo *addresses) {
  struct error err;
  PGconn *pq = pg_params_connect(conn->pool->config, addresses, &err);
  if (!pq) {
    give_up(conn, "", &err);
    return;
  }
  conn->pq = pq;
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

static void on_resolved(void *arg, const struct addrinfo *addresses, const char *problem) {
  struct pg_lease *conn = arg;
  conn->resolve = NULL;
  if (conn->is_dial_failed) {
    pg_conn_set_state(conn, CONN_EMPTY);
    return;
  }
  if (!problem) {
    connect_to(conn, addresses);
    return;
  }
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "can't resolve database.host \"%s\": %s",
            conn->pool->config->host, problem);
  give_up(conn, "", &err);
}

static void begin(struct pg_lease *conn) {
  conn->generation = conn->pool->generation;
  conn->is_dead = false;
  conn->is_dial_failed = false;
  conn->prepared = (struct prepared){0};
}

void pg_dial_start(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  begin(conn);
  pg_conn_set_state(conn, CONN_RESOLVING);
  pg_conn_arm(conn, pg_after(pg_pool_now(pool), pool->config->connect_timeout_us));
  if (pg_params_is_resolved(pool->config)) {
    connect_to(conn, NULL);
    return;
  }
  conn->resolve = pg_resolve_start(pool->loop, pool->config->host, on_resolved, conn);
  if (conn->resolve)
    return;
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "can't look database.host \"%s\" up", pool->config->host);
  give_up(conn, "", &err);
}

void pg_dial_timeout(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  struct error err;
  error_set(&err, ERR_UNAVAILABLE, "%s \"%s\": no answer within connect_timeout (%.3g s)",
            conn->state == CONN_RESOLVING ? "looking up" : "connecting to", pool->config->host,
            (double)pool->config->connect_timeout_us / 1e6);
  if (conn->state == CONN_CONNECTING) {
    give_up(conn, "", &err);
    return;
  }
  /* A look-up can't be stopped. Its slot stays taken until it ends: so a resolver that hangs gets
   * max_connecting questions at most. */
  conn->is_dial_failed = true;
  pg_governor_failed(pool, "", &err);
}

void pg_dial_abort(struct pg_lease *conn) {
  if (conn->state == CONN_CONNECTING) {
    pg_conn_close(conn);
    return;
  }
  if (conn->resolve)
    pg_resolve_abandon(conn->resolve);
  conn->resolve = NULL;
  pg_conn_arm(conn, CLOCK_NEVER);
  pg_conn_set_state(conn, CONN_EMPTY);
}
