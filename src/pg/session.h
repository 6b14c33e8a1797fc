/*
 * session: what a connection's session must be before the pool lends it.
 *
 * A role, a database, a server's file and a pooler can each change what our SQL means and how
 * durable a commit is. So the last step of a dial is one query (of a server that is too old for us,
 * none): it sets what we depend on, reads everything back, and finds the schema that our tables are
 * in. What comes back decides:
 *
 *   set       what a session may set is ours from then on, whatever ALTER SYSTEM says later
 *   refused   the server answers otherwise than it was asked, or several schemas hold a store and
 *             the search path names none of them, or a preamble would be too long: the dial fails
 *             (PG_DIAL_SESSION)
 *   warned of what a session can't set (fsync): once for each change, not for each connection
 *
 * Words: pooled = something between us and the server hands server sessions out (PgBouncer): the
 * server's process isn't the one that logged us in. Settings of a session are then nobody's, so
 * each transaction begins with its preamble, one statement that makes them for this transaction
 * alone, and statements are not prepared. A second step of the dial finds out whether the pooler
 * takes transactions at all.
 *
 * Loop thread only.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/error.h"

struct pg_lease;
struct pg_pool;

enum {
  PG_SESSION_TOLD_MAX = 32,
  PG_SESSION_TOLD_SIZE = 64,
};

/* Of one connection. */
struct pg_session {
  bool omitted_options; /* its dial sent no settings with the log-in */
  bool is_pooled;
  char *preamble;       /* owned; NULL: the session keeps its settings itself */
  struct error refusal; /* ERR_OK: it is as it must be */
};

/* Of a pool: what it has learned and told. */
struct pg_session_memory {
  bool omits_options; /* the server takes no settings with the log-in */
  bool is_pooler_told;
  char told[PG_SESSION_TOLD_MAX][PG_SESSION_TOLD_SIZE]; /* the last value that was warned of */
};

/* CONNECTING, logged in: begins with the session. What becomes of it is told by pg_dial_settle() or
 * pg_dial_fail(), from the loop. */
void pg_session_start(struct pg_lease *conn);

/* The connection is to be made anew, or never again: frees what its session had. */
void pg_session_reset(struct pg_lease *conn);

/* The settings have changed: what the server took or didn't take is to be found out again. */
void pg_session_forget(struct pg_pool *pool);

/* ---- poolers ---- */

/* The log-in was refused because of the settings sent with it: others needn't send them. False:
 * that isn't why, or none were sent. */
bool pg_pooler_refused_options(struct pg_lease *conn, const char *sqlstate, const char *message);

/* SETTING, pooled, the settings are right: asks whether a transaction may have several statements,
 * and ends the dial. */
void pg_pooler_probe(struct pg_lease *conn);

/* What to do about a prepared statement that was lost or met another's: only a pooler does that.
 * NULL: the SQLSTATE says something else. */
const char *pg_pooler_advice(const char *sqlstate);
