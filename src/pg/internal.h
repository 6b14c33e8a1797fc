/*
 * internal: what the files of this folder share.
 *
 * Words: slot = one of the max_open_conns places for a connection, a struct pg_lease; governor =
 * what decides when to dial; turn = the pool's work at the end of a loop turn that changed
 * anything.
 *
 * Callbacks of users run from loop tasks only, so no function here re-enters its caller. A PGconn
 * is always called pq here and a slot always conn.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/random.h"
#include "pg/hosts.h"
#include "pg/pool.h"
#include "pg/pulse.h"
#include "pg/refusals.h"
#include "pg/session.h"
#include "pg/watch.h"

enum {
  PG_PREPARED_MAX = 64,    /* statements prepared on one connection; more are sent unprepared */
  PG_NAME_SIZE = 64,       /* of a prepared statement's name: the server's limit */
  PG_DIAL_TEXT_SIZE = 512, /* of an error text made from libpq's */
  PG_FATAL_TEXT_SIZE = 160,
  PG_JITTER_SHARES = 1000000,
  PG_PARAMS_TEXT_MAX = 65536 /* all texts of the settings together are shorter */
};

/* ---- slots ---- */

enum conn_state {
  CONN_EMPTY,
  CONN_RESOLVING,  /* a dial: the host's name is looked up */
  CONN_CONNECTING, /* a dial: libpq connects and logs in */
  CONN_SETTING,    /* a dial: the session is made what it must be */
  CONN_IDLE,
  CONN_CHECKING, /* idle for long: asked for a sign of life before it is handed out */
  CONN_LEASED,
  CONN_CLOSING, /* closed here; the server hasn't closed its side yet */
  CONN_STATES,
};

enum pipeline_phase {
  PIPELINE_NONE,
  PIPELINE_QUEUING,  /* statements are being added */
  PIPELINE_RUNNING,  /* the sync is queued, results arrive */
  PIPELINE_SCRIPT,   /* simple protocol, results arrive */
  PIPELINE_ROLLBACK, /* a script left a transaction open; it's being rolled back */
  PIPELINE_DONE,     /* the outcome is known, on_done is deferred */
};

/* What the server will answer next, in the order sent. */
struct pipeline_entry {
  int statement;
  bool is_prepare;
  bool is_named;     /* run under its name, for which it was prepared */
  bool was_prepared; /* by an earlier pipeline: its plan may be stale */
  bool is_preamble;  /* the session's, not its user's */
  const struct pg_statement *sql;
};

struct pipeline {
  enum pipeline_phase phase;
  struct pipeline_entry *entries; /* owned; keeps its memory from one pipeline to the next */
  int entry_count;
  int entry_capacity;
  int entry;       /* the one whose results arrive */
  bool has_result; /* at least one of them came */
  bool is_broken;  /* a statement couldn't be queued */
  bool is_flushed; /* everything left for the server, the sync included */
  bool is_refused;
  bool is_unconfirmed; /* the wait for the synchronous standby was cancelled */
  int statement_count;
  struct pg_pipeline_cb cb;
  void *arg;
  struct pg_outcome outcome;
  struct loop_task done_task;
};

struct prepared {
  const char *names[PG_PREPARED_MAX];
  int count;
  int epoch; /* part of the names on the server: those of an earlier epoch are never used again */
};

struct pg_lease {
  struct pg_pool *pool;
  struct list_link link; /* in pool->states[state] */
  enum conn_state state;
  PGconn *pq;             /* owned; NULL when EMPTY, RESOLVING or CLOSING */
  struct pg_watch *watch; /* owned; NULL when there is nothing to watch */
  struct loop_timer timer;
  int64_t deadline_us;      /* the timer's; CLOCK_NEVER when it isn't armed */
  struct pg_lookup *lookup; /* RESOLVING only */
  int closing_fd;           /* CLOSING: our copy of the socket, or -1 */
  int64_t dialed_us;
  int64_t born_us;
  int64_t jitter_share; /* of a million, drawn at birth: how much of the jitter it gets */
  int64_t die_at_us;    /* follows from the two above and the settings; a reload alone changes it */
  int64_t idle_since_us;
  int64_t uses;
  int generation;
  bool is_dial_failed;  /* RESOLVING: counted as failed already; the look-up is still under way */
  bool is_dead;         /* never to be used again */
  bool is_address_gone; /* its host has other addresses now */
  bool is_leak_logged;
  enum pg_close_reason farewell; /* why it is dead, or will be closed; BROKEN until that is known */
  char sqlstate[6];              /* what the server ended it with, or "" */
  char fatal[PG_FATAL_TEXT_SIZE]; /* in its words, or "" */
  const char *holder;             /* LEASED: who has it, since when */
  int64_t leased_us;
  bool is_awaited; /* gone_task runs when the slot is empty */
  struct loop_task gone_task;
  struct prepared prepared;
  struct pg_session session;
  struct pipeline pipeline;
};

/* The one function that changes a slot's state. */
void pg_conn_set_state(struct pg_lease *conn, enum conn_state next);

/* (Re)arms the slot's only timer; CLOCK_NEVER disarms it. */
void pg_conn_arm(struct pg_lease *conn, int64_t deadline_us);

/* Watches libpq's socket, whichever it is now. False when there is none. */
bool pg_conn_watch(struct pg_lease *conn, int events);
void pg_conn_unwatch(struct pg_lease *conn);

/* Reads what has arrived, all of what TLS has decrypted included. False: the connection is lost,
 * and its watch is closed; what came before can still be read. */
bool pg_conn_consume(struct pg_lease *conn);

/* libpq may drop the socket in any call: after one, this closes the watch and marks the slot dead.
 * Returns whether the connection lives. */
bool pg_conn_check(struct pg_lease *conn);

/* Never to be used again. What the server said of the reason before counts for more. */
void pg_conn_condemn(struct pg_lease *conn, enum pg_close_reason reason);

/* What the server's farewell means for this connection; and when the server goes down or turned
 * read-only, for every one that exists. */
void pg_conn_note_sqlstate(struct pg_lease *conn, const char *sqlstate);

/* Whether a clean connection may be used or kept at now_us, without looking at its socket; if not,
 * *ret_reason (may be NULL) says why. */
bool pg_conn_is_usable(const struct pg_lease *conn, int64_t now_us,
                       enum pg_close_reason *ret_reason);

/* Unused for so long that it must show life first. */
bool pg_conn_needs_ping(const struct pg_lease *conn, int64_t now_us);

/* Reads an idle connection's socket; false when it is dead or the server says it will be. */
bool pg_conn_probe(struct pg_lease *conn);

/* Writes die_at_us. */
void pg_conn_set_death(struct pg_lease *conn);

/* Any state with a socket: closes it here and waits for the server to close before the slot is
 * free, so that the server never sees more than the limit. A condemned one keeps its reason. */
void pg_conn_close(struct pg_lease *conn, enum pg_close_reason reason);

/* Closes a LEASED connection at once, uncounted; the slot stays LEASED and dead until released. */
void pg_conn_cut(struct pg_lease *conn);

/* CLOSING: the slot becomes EMPTY now. */
void pg_conn_finish_close(struct pg_lease *conn);

/* A new, empty slot of the pool. */
struct pg_lease *pg_conn_new(struct pg_pool *pool);

/* ---- waiters ---- */

struct pg_waiter {
  struct list_link link;
  struct list *list; /* which one it is in */
  struct pg_pool *pool;
  int64_t deadline_us;
  int64_t since_us;
  const char *holder;
  pg_acquire_cb *cb;
  void *arg;
  struct pg_lease *conn;         /* served; its callback is still to run */
  enum pg_acquire_result result; /* settled: how; its callback is still to run */
};

struct waiters {
  struct list free;    /* owned, as all others are: made when needed, kept */
  struct list queued;  /* in order of arrival */
  struct list settled; /* served or failed */
  /* No queued waiter's deadline is earlier. It may lie before the earliest when that one has been
   * served: then a look at all of them comes too soon, and puts it right. */
  int64_t deadline_us;
};

void pg_waiters_init(struct waiters *waiters);
void pg_waiters_deinit(struct waiters *waiters);

/* Never fails: waiters that are refused at once need one as well. Not in a list yet. */
struct pg_waiter *pg_waiter_take(struct waiters *waiters);
void pg_waiter_give_back(struct waiters *waiters, struct pg_waiter *waiter);
void pg_waiter_queue(struct waiters *waiters, struct pg_waiter *waiter);

/* Queued, or in no list yet: it has a connection, or failed. Its callback runs with this turn. */
void pg_waiter_serve(struct pg_pool *pool, struct pg_waiter *waiter, struct pg_lease *conn,
                     int64_t now_us);
void pg_waiter_fail(struct pg_pool *pool, struct pg_waiter *waiter, enum pg_acquire_result why);

/* Its callback won't run. */
void pg_waiter_cancel(struct pg_pool *pool, struct pg_waiter *waiter);

/* Fails the queued waiters whose deadline passed. */
void pg_waiters_expire(struct pg_pool *pool, int64_t now_us);
void pg_waiters_fail_all(struct pg_pool *pool, enum pg_acquire_result why);

/* Runs the callbacks of the settled. */
void pg_waiters_deliver(struct pg_pool *pool);

/* ---- governor ---- */

struct governor {
  bool has_dialed; /* at least once, to the end */
  bool is_failing; /* the last dial failed */
  int failures;    /* sets the pause; forgotten after connect_backoff_reset without one */
  int allowed;     /* dials at once: one after a failure, then twice as many with each success */
  int shift;       /* which of several hosts is tried first: the next one after a time-out */
  int64_t next_dial_at_us;
  int64_t failed_at_us;
  int64_t recovered_at_us;
  int64_t down_since_us; /* CLOCK_NEVER: not down */
  int ceiling;           /* connections the server had to give when it said it had no more */
  int64_t probe_at_us;   /* when it may be asked for one more; CLOCK_NEVER: there is no ceiling */
  enum pg_dial_failure failure; /* the last failed dial's, as are these two */
  char sqlstate[6];
  struct error error;
  enum pg_pool_state logged;
  unsigned told; /* kinds of failure that were logged since the last dial that succeeded */
};

/* Starts as many dials as the waiters call for and the limits allow; fails the waiters when the
 * server has been out of reach for too long. */
void pg_governor_run(struct pg_pool *pool, int64_t now_us);

/* When it wants to be run again; CLOCK_NEVER: not before something changes. */
int64_t pg_governor_next(const struct pg_pool *pool, int64_t now_us);

bool pg_governor_fails_fast(const struct pg_pool *pool, int64_t now_us);
void pg_governor_succeeded(struct pg_pool *pool);
void pg_governor_failed(struct pg_lease *conn, enum pg_dial_failure why, const struct error *err);

/* Forgets pauses and the ceiling: the settings changed. */
void pg_governor_reset(struct pg_pool *pool);

/* How many connections there may be: max_open_conns, or fewer while the server has no more. */
int pg_governor_max_open(const struct pg_pool *pool);

enum pg_pool_state pg_governor_state(const struct pg_pool *pool);

/* Once for each change: logs it, and calls who wants to hear of it. */
void pg_governor_tell_state(struct pg_pool *pool);

/* ---- one dial ---- */

/* EMPTY: begins. What becomes of it is reported to the governor, and to the pool by its state. */
void pg_dial_start(struct pg_lease *conn);
void pg_dial_event(struct pg_lease *conn);
void pg_dial_timeout(struct pg_lease *conn);

/* When a dial must have ended. */
int64_t pg_dial_deadline(const struct pg_lease *conn);

/* SETTING: the session is as it must be. */
void pg_dial_settle(struct pg_lease *conn);

/* The dial has failed, in whichever step. */
void pg_dial_fail(struct pg_lease *conn, enum pg_dial_failure why, const struct error *err);

/* RESOLVING, CONNECTING or SETTING: gives up, counting nothing. */
void pg_dial_abort(struct pg_lease *conn);

struct pg_resolve;
typedef void pg_resolve_cb(void *arg, const struct addrinfo *addresses, const char *problem);

/* Looks `host` up on libuv's threads; cb runs once, from the loop. NULL: out of memory. */
struct pg_resolve *pg_resolve_start(struct loop *loop, const char *host, pg_resolve_cb *cb,
                                    void *arg);

/* Asks for an early end; cb runs all the same. */
void pg_resolve_cancel(struct pg_resolve *resolve);

struct pg_params_wish {
  int first;          /* endpoint, modulo their number: dialled before the others */
  bool omits_options; /* the server takes no settings while logging in */
};

/* Begins to connect to the endpoints. NULL: err says why. Reads the password file. */
PGconn *pg_params_connect(const struct config_database *config,
                          const struct pg_endpoints *endpoints, struct pg_params_wish wish,
                          struct error *err);

/* All that a connection is made with, to see whether it changed. */
void pg_params_text(const struct config_database *config, struct buf *ret_text);

/* ---- pipelines ---- */

void pg_pipeline_init(struct pg_lease *conn);
void pg_pipeline_deinit(struct pg_lease *conn);

/* Forgets the one under way; on_done won't run. */
void pg_pipeline_reset(struct pg_lease *conn);
void pg_pipeline_begin(struct pg_lease *conn);
void pg_pipeline_event(struct pg_lease *conn, int status, int events);
void pg_pipeline_timeout(struct pg_lease *conn);
void pg_pipeline_flush(struct pg_lease *conn);
void pg_pipeline_finish(struct pg_lease *conn, enum pg_outcome_kind kind);

/* The connection is of no more use: PG_LOST with `code` and `text`. */
void pg_pipeline_lose(struct pg_lease *conn, enum error_code code, const char *text);

/* The same with what libpq says. */
void pg_pipeline_lose_connection(struct pg_lease *conn);

/* What was done may be lost with this server: PG_LOST in doubt. The connection goes as well. */
void pg_pipeline_doubt(struct pg_lease *conn);

/* Takes every result that is there. */
void pg_results_read(struct pg_lease *conn);

/* A script's last result was read. */
void pg_script_end(struct pg_lease *conn);

/* Whether `sql` is prepared, and the name it has on this connection. */
bool pg_prepared_find(const struct prepared *prepared, const struct pg_statement *sql,
                      char ret_name[PG_NAME_SIZE]);
bool pg_prepared_add(struct prepared *prepared, const struct pg_statement *sql);
void pg_prepared_remove(struct prepared *prepared, const struct pg_statement *sql);
/* All of them, for good: their names won't be used again on this connection. */
void pg_prepared_forget(struct prepared *prepared);

/* ---- errors ---- */

/* What a SQLSTATE means for the connection it came on; BROKEN: nothing. */
enum pg_close_reason pg_sqlstate_farewell(const char *sqlstate);

/* Why a dial failed, from the SQLSTATE ("": none came) and libpq's message. */
enum pg_dial_failure pg_dial_failure_of(const char *sqlstate, const char *message);

/* The SQLSTATE in a message of PQERRORS_VERBOSE; "" when there is none. */
void pg_sqlstate_of_message(const char *message, char ret_sqlstate[6]);

/* The lines of a libpq message in one, hints behind a semicolon, cut to `size`. */
void pg_one_line(const char *message, char *ret_text, size_t size);

/* ---- the pool ---- */

struct shrink {
  int least_idle;     /* since the window began */
  int64_t ends_at_us; /* CLOCK_NEVER: no window is open */
};

/* Looks host names up now and then, to see whether they have moved. */
struct refresh {
  struct pg_lookup *lookup; /* under way */
  int64_t at_us;            /* the next one; CLOCK_NEVER: none is due */
};

struct pg_pool {
  struct loop *loop;                    /* borrowed */
  const struct config_database *config; /* borrowed */
  struct pg_lease **conns;              /* owned, each for itself: they stay where they are */
  int conn_count;                       /* made when needed, at most the largest max_open_conns */
  struct list states[CONN_STATES];      /* idle: the last used first; leased: the oldest first */
  struct waiters waiters;
  struct governor governor;
  struct shrink shrink;
  struct refresh refresh;
  struct buf params; /* what connections of this generation are made with */
  int generation;    /* connections of an earlier one are closed when they come back */
  struct loop_task turn_task;
  struct loop_timer wake;
  int64_t wake_at_us;
  int64_t upkeep_at_us;   /* no idle connection is due earlier */
  int64_t slow_logged_us; /* 0: never */
  bool is_server_idle_logged;
  struct pg_session_memory sessions;
  struct pg_refusals refusals;
  struct pg_pulse pulse;
  pg_state_cb *on_state; /* NULL: nobody wants to hear of it */
  void *on_state_arg;
  struct pg_pool_stats counters;       /* its counters; the gauges come from `states` */
  int (*ssl_pending)(const void *ssl); /* NULL when libpq came without OpenSSL */
  bool is_draining;
  int64_t drain_deadline_us;
  loop_task_cb *drained;
  void *drained_arg;
  int timers_open; /* while the pool is being freed */
};

int64_t pg_pool_now(const struct pg_pool *pool);

/* A turn comes before the loop sleeps. */
void pg_pool_kick(struct pg_pool *pool);

/* Hands idle connections to the queue's head. */
void pg_pool_serve(struct pg_pool *pool, int64_t now_us);

/* A new connection, or one that came back, is idle. */
void pg_pool_put_idle(struct pg_pool *pool, struct pg_lease *conn, int64_t now_us);

/* The one that was unused for longest goes on being that. */
void pg_pool_leave_idle(struct pg_pool *pool, struct pg_lease *conn, int64_t now_us);

static inline int pg_pool_count(const struct pg_pool *pool, enum conn_state state) {
  return (int)pool->states[state].count;
}

/* Connections the server knows, dials and closing ones not included. */
static inline int pg_pool_open(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_IDLE) + pg_pool_count(pool, CONN_CHECKING) +
         pg_pool_count(pool, CONN_LEASED);
}

/* Slots that count against max_open_conns. */
static inline int pg_pool_occupied(const struct pg_pool *pool) {
  return pool->conn_count - pg_pool_count(pool, CONN_EMPTY);
}

/* A slot to dial in: there is always one below max_open_conns. */
struct pg_lease *pg_pool_empty_slot(struct pg_pool *pool);

static inline int pg_pool_dialing(const struct pg_pool *pool) {
  return pg_pool_count(pool, CONN_RESOLVING) + pg_pool_count(pool, CONN_CONNECTING) +
         pg_pool_count(pool, CONN_SETTING);
}

/* ---- upkeep: what closes idle connections ---- */

/* Called when the number of idle connections changed. */
void pg_shrink_note(struct pg_pool *pool);

/* Called when a connection became idle, or what ends it has changed. */
void pg_upkeep_note(struct pg_pool *pool, const struct pg_lease *conn);

/* Looks at all of them with the next turn. */
void pg_upkeep_soon(struct pg_pool *pool);

/* Closes what is stale, too old, idle for too long or too many. */
void pg_upkeep_run(struct pg_pool *pool, int64_t now_us);
int64_t pg_upkeep_next(const struct pg_pool *pool);

/* Idle connections that will still be there when a dial begun now has ended. */
int pg_upkeep_lasting(const struct pg_pool *pool, int64_t now_us);

/* ---- signs of life ---- */

/* Asks as many of the longest unused as there are waiters for. */
void pg_ping_run(struct pg_pool *pool, int64_t now_us);

/* The IDLE one that was unused for longest: asks it, which counts as no use of it. */
void pg_ping_for_pulse(struct pg_lease *conn, int64_t deadline_us);

/* ---- looking names up again ---- */

void pg_refresh_run(struct pg_pool *pool, int64_t now_us);
int64_t pg_refresh_next(const struct pg_pool *pool);

/* Starts the interval anew: the settings changed. */
void pg_refresh_reset(struct pg_pool *pool);
void pg_refresh_stop(struct pg_pool *pool);

/* ---- what an operator should hear of ---- */

/* Connections in use for too long, each once. */
void pg_watchdog_run(struct pg_pool *pool, int64_t now_us);
int64_t pg_watchdog_next(const struct pg_pool *pool);

/* A waiter is being served: too late? */
void pg_watchdog_waited(struct pg_pool *pool, const struct pg_waiter *waiter, int64_t now_us);

/* One gave up in the queue. */
void pg_watchdog_timed_out(struct pg_pool *pool, const struct pg_waiter *waiter, int64_t now_us);

void pg_watchdog_server_idle(struct pg_pool *pool, const char *sqlstate);

/* "open 5, in use 5 (the longest by lane, for 0.4 s), idle 0, ...": for errors and logs. */
#define PG_SNAPSHOT_SIZE 320
void pg_pool_describe(const struct pg_pool *pool, char ret_text[PG_SNAPSHOT_SIZE]);

/* Asserts what must hold at the end of each turn. Debug builds call it. */
void pg_pool_check(const struct pg_pool *pool, int64_t now_us);

/* ---- what runs a pipeline ---- */

static inline bool pg_conn_is_busy(const struct pg_lease *conn) {
  return conn->state == CONN_LEASED || conn->state == CONN_CHECKING || conn->state == CONN_SETTING;
}
