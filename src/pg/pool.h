/*
 * pool: a bounded set of PostgreSQL connections, lent to one user at a time.
 *
 * Words: lease = a connection in a user's hands (struct pg_lease); waiter = a request for one that
 * isn't served yet; dial = opening a connection; pipeline = statements sent together, one round
 * trip, one transaction. Threads: loop thread only. libpq never leaves this folder, so nobody can
 * make a blocking call on a lease.
 *
 * A pipeline is one implicit transaction: its statements take effect together or not at all, and
 * what it did is durable only when on_done says ok, which is after the server's answer to the sync
 * that follows them.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/must_check.h"
#include "config/config.h"
#include "pg/stats.h"

struct pg_pool;
struct pg_lease;
struct pg_waiter;

/* ---- life cycle ---- */

/* Dials nothing yet. `config` and `loop` must outlive the pool. Reads the password file. */
MUST_CHECK int pg_pool_new(struct pg_pool **ret_pool, struct loop *loop,
                           const struct config_database *config, struct error *err);

/* Reads the password file and throws the password away. */
MUST_CHECK int pg_params_check(const struct config_database *config, struct error *err);

/* The content of the pool's config has changed in place: takes it over. Nothing in use is cut off:
 * above a lowered max_open_conns connections go when they come back, and so do all when what they
 * were made with has changed (hosts, files, session settings). Ends a pause between dials. */
void pg_pool_reload(struct pg_pool *pool);

/* Fails waiters with ERR_CANCELED, dials no more, closes idle connections, waits for leases until
 * deadline_us, then cuts theirs off (PG_LOST for what is under way); then runs `done` once, from
 * the loop. Leases cut off may still be released until pg_pool_free(), and not after. */
void pg_pool_drain(struct pg_pool *pool, int64_t deadline_us, loop_task_cb *done, void *arg);

/* After drain is done, or when nothing was ever acquired. NULL is fine. The memory goes once the
 * loop has closed its handles: run it once more. */
void pg_pool_free(struct pg_pool *pool);

/* ---- leases ---- */

/* `conn` is NULL on failure, and `err` says why: ERR_TIMEOUT the deadline or acquire_timeout
 * passed; ERR_EXHAUSTED max_waiters are waiting; ERR_UNAVAILABLE the server is out of reach (for
 * fail_fast_after or longer; the text holds the dial's error); ERR_CANCELED the pool drains. */
typedef void pg_acquire_cb(void *arg, struct pg_lease *conn, const struct error *err);

/* Queues for a connection, first come first served, until min(deadline_us, now + acquire_timeout).
 * `holder` is a static text for logs. `cb` runs exactly once, never inside this call. The waiter is
 * valid until cb runs or the request is cancelled. */
struct pg_waiter *pg_acquire(struct pg_pool *pool, int64_t deadline_us, const char *holder,
                             pg_acquire_cb *cb, void *arg);

/* cb will not run. */
void pg_acquire_cancel(struct pg_waiter *waiter);

/* Gives the lease back. The pool hands it on, keeps it, or closes it when it isn't clean. With a
 * pipeline under way the connection is closed and on_done doesn't run. */
void pg_release(struct pg_lease *conn);

/* The same for a connection whose session isn't to be used again, such as one whose prepared
 * statements have plans that were made while the tables were others: it is closed. */
void pg_discard(struct pg_lease *conn);

/* The same for one whose pipeline nobody waits for any more. Its connection is closed, and `gone`
 * runs once, from the loop, when PostgreSQL has closed its side, or after close_timeout: until then
 * it counts against max_open_conns. */
void pg_abandon(struct pg_lease *conn, loop_task_cb *gone, void *arg);

/* ---- pipelines ---- */

/* One SQL statement of the program's text. With a name it is prepared once per connection, on first
 * use, in the same round trip. `name` is unique per sql. Static storage. */
struct pg_statement {
  const char *name; /* NULL: not prepared */
  const char *sql;
  int param_count;
  const Oid *param_types; /* NULL: the server infers them */
};

/* Binary parameters. values[i] NULL is SQL NULL. Read during pg_send only. */
struct pg_params {
  const char *const *values;
  const int *lengths;
};

enum pg_outcome_kind {
  PG_OK,      /* committed */
  PG_REFUSED, /* the server refused a statement; nothing took effect; the lease is usable */
  PG_LOST,    /* connection lost or deadline passed; the lease is dead: release it */
};

struct pg_outcome {
  enum pg_outcome_kind kind;
  bool is_in_doubt;  /* PG_LOST only: the sync was sent, so it may have committed */
  bool is_at_commit; /* PG_REFUSED only: by what was put off to the commit, not by a statement */
  int statement;     /* PG_REFUSED: the index of the refused one; the last when it was the commit */
  char sqlstate[6];  /* "23505"; "" when there is none */
  struct error err;  /* code by pg_error_code(), text for the log */
  char constraint[64]; /* constraint named in the refusal, or "" */
};

struct pg_pipeline_cb {
  /* A statement's result (PGRES_TUPLES_OK or PGRES_COMMAND_OK), in order; all values binary, a
   * script's text.
   * Borrowed: cleared after the call. May be NULL. Don't act on it before on_done says PG_OK. */
  void (*on_result)(void *arg, int statement, const PGresult *result);
  /* Exactly once, from the loop, unless the lease is released before. A new pipeline may be started
   * inside it. */
  void (*on_done)(void *arg, const struct pg_outcome *outcome);
  /* Whether a refusal is one of the answers that the sender asks for: it isn't told to operators
   * then, nor counted. May be NULL: none is. */
  bool (*is_answer)(const struct pg_outcome *outcome);
};

/* Adds one statement to the pipeline of a lease that has none under way: at most 128 parameters, no
 * COPY, no transaction left open. `params` NULL: none. Failures are told by on_done. */
void pg_send(struct pg_lease *conn, const struct pg_statement *statement,
             const struct pg_params *params);

/* Lets the server begin with what was added so far, as much of it as the socket takes at once. */
void pg_push(struct pg_lease *conn);

/* Ends the pipeline and sends it. The deadline is min(deadline_us, now + statement_timeout +
 * query_grace). */
void pg_run(struct pg_lease *conn, int64_t deadline_us, const struct pg_pipeline_cb *cb, void *arg);

/* Instead of a pipeline: runs `script`, one or more statements separated by semicolons without
 * parameters, by the simple protocol, as one transaction unless it says otherwise. For migrations
 * and DDL. */
void pg_run_script(struct pg_lease *conn, const char *script, int64_t deadline_us,
                   const struct pg_pipeline_cb *cb, void *arg);

/* How long the server lets a statement of this pool's sessions run: database.statement_timeout. */
int64_t pg_statement_timeout_us(const struct pg_pool *pool);

/* Our error code for an SQLSTATE: the one place where classes are mapped. */
enum error_code pg_error_code(const char *sqlstate);

/* ---- the server's own limits ---- */

/* `limits` is NULL on failure; `err` says why. */
typedef void pg_limits_cb(void *arg, const struct pg_server_limits *limits,
                          const struct error *err);

/* Asks the server; stats and metrics show the answer from then on. `cb` runs exactly once, never
 * inside this call. */
void pg_limits_read(struct pg_pool *pool, int64_t deadline_us, pg_limits_cb *cb, void *arg);

/* ---- observation ---- */

void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *ret_stats);

/* Runs from the loop on each change of the state that pg_pool_stats() tells. */
typedef void pg_state_cb(void *arg, enum pg_pool_state state);
void pg_pool_on_state(struct pg_pool *pool, pg_state_cb *cb, void *arg);

/* The last dial failed and no connection is left, or there are some and the server is frozen;
 * ret_err (may be NULL) gets why. */
bool pg_pool_is_down(const struct pg_pool *pool, struct error *ret_err);

/* The same for pages that everybody may read: why, as of now, in words that name no host, port,
 * role, database or file. False, and nothing is written: it isn't down. */
#define PG_REASON_SIZE 160
bool pg_pool_reason(const struct pg_pool *pool, char ret_text[PG_REASON_SIZE]);

/* Likewise: within the last minute the server refused a statement because of its own state: no
 * room, no memory, an I/O error, a fault of its own. False: it didn't. */
bool pg_pool_server_trouble(const struct pg_pool *pool, char ret_text[PG_REASON_SIZE]);
