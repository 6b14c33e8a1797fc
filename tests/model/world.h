/*
 * world: all that the pool sees in the model test: a clock turned by hand, the loop, libpq, and a
 * PostgreSQL that accepts, refuses, hangs, dies and comes back as the schedule says.
 *
 * The test program links the real pool and defines the functions below itself in place of the
 * loop's, libpq's, the watches', the resolver's, the sockets' and the random ones, so that not a
 * line of the pool changes. Everything is drawn from one seed: the same seed is the same run.
 *
 * Words: line = one connection as both ends see it, the struct behind a PGconn; item = a message of
 * the server on its way to libpq; schedule = one run, from an empty pool to a freed one.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "pg/internal.h"
#include "pg/pool.h"

enum { ITEMS_MAX = 32, REQUESTS_MAX = 96, EPOCH_NONE = -1 };

/* ---- the server ---- */

struct server {
  bool is_up;
  bool is_hung;     /* takes connections, answers nothing, sees nothing end */
  bool is_starting; /* 57P03 */
  bool is_read_only;
  bool refuses_logins;
  bool is_pooler; /* stands before it: takes no options, shares sessions */
  bool is_calm;   /* answers soon and well: the end of a schedule */
  int max_connections;
  int others; /* connections of other programs */
  uint32_t address;
};

enum item_kind { ITEM_LOGIN, ITEM_RESULT, ITEM_END, ITEM_SYNC, ITEM_FIN };

struct item {
  enum item_kind kind;
  int64_t at_us; /* CLOCK_NEVER: the server hangs */
  ExecStatusType status;
  char sqlstate[6];
  const char *severity;
  bool is_in_transaction; /* ITEM_END, ITEM_SYNC */
  bool is_session;        /* the answer to the question for the settings */
  bool is_standby_notice; /* the wait for the standby was cancelled */
};

enum dial_phase { DIAL_CONNECT, DIAL_REFUSED, DIAL_LOGIN, DIAL_OVER };

struct pg_conn {
  struct list_link link; /* in world->lines */
  struct world *world;
  unsigned number;
  /* the client's end */
  ConnStatusType status;
  enum dial_phase phase;
  int rounds; /* of the log-in, still to come */
  int fd;     /* libpq's; -1: none */
  int copy_fd;
  unsigned socket; /* changes when libpq opens another, maybe under the same number */
  bool waits_to_write;
  int64_t writable_at_us;
  bool is_open; /* logged in, and not finished */
  bool is_finished;
  bool is_half_closed;
  int64_t finished_us;
  int64_t close_timeout_us; /* the setting then */
  bool is_pipelining;
  bool has_output;
  bool has_sync;   /* in the output: what it ends */
  bool has_script; /* in the output: the simple protocol */
  int statements;  /* in the output */
  int awaited;     /* ends and syncs that libpq expects */
  bool is_in_transaction;
  bool is_pooled;
  bool is_amiss;           /* its session keeps a setting that it shouldn't have */
  bool is_refused_options; /* it sends them, and a pooler takes none */
  bool asks_session;       /* in the output: the question for the settings */
  bool is_begin;           /* in the output: a script that leaves a transaction open */
  bool has_heard_farewell;
  bool is_loss_told;
  int copies_read;
  PQnoticeReceiver notice;
  void *notice_arg;
  char message[160];
  char address[16];
  struct item items[ITEMS_MAX];
  int item_count;
  int arrived; /* of the items: read from the socket */
  /* the server's end */
  bool has_backend;
  int64_t ends_at_us; /* when it sees the client's end; CLOCK_NEVER: not before something changes */
  /* what the model remembers of it */
  int epoch;
  int64_t opened_us;
  int64_t lively_us; /* its last answer, log-in or release */
  int64_t die_at_us;
  int64_t jitter_share;
  int reloads;
};

/* ---- the model's own view ---- */

enum request_state { REQUEST_NEW, REQUEST_QUEUED, REQUEST_HELD, REQUEST_OVER };

struct request {
  struct world *world;
  int number;
  enum request_state state;
  struct pg_waiter *waiter;
  struct pg_lease *conn;
  int64_t deadline_us;
  int answers;
  bool is_canceled;
  bool is_full; /* max_waiters were waiting when it came */
  bool is_running;
  bool is_told_lost;
  int64_t run_deadline_us;
};

/* What the invariants need to know of the past. */
struct memory {
  int epoch; /* bumped by each farewell that ends all connections, and by some reloads */
  int reloads;
  int64_t changed_us; /* the last of either */
  int64_t failures[PG_DIAL_FAILURE_COUNT];
  int64_t opened;
  int64_t closed_max_idle;
  bool is_failing;
  bool is_one_at_a_time;
  int failures_in_a_row;
  int64_t no_dial_before_us;
  int ceiling;
  int64_t ceiling_until_us; /* 0: none */
  int64_t down_since_us;
  int64_t few_idle_us;      /* when idle connections were last seen at max_idle_conns or below */
  int64_t used_us;          /* when anything last happened to one */
  int occupied, open, idle; /* at the end of the last turn */
  int64_t timeouts;         /* closes that the server didn't answer in time */
};

struct world {
  struct clock clock; /* first: the clock's functions find the world by it */
  int64_t now_us;
  struct loop loop;
  struct list timers_closed;
  uint64_t seed;
  uint64_t random;
  double share; /* the pool's last random number, as a part of the range */
  bool is_verbose;
  bool is_loop_running;
  int step;
  struct server server;
  struct list lines;
  struct list watches;
  struct list lookups;
  int next_fd;
  unsigned next_number;
  int results;
  bool is_faulty;  /* calls fail now and then */
  bool was_faulty; /* at any time */
  struct config_database config;
  struct pg_pool *pool;
  struct memory memory;
  struct request requests[REQUESTS_MAX];
  int request_count;
  int held; /* leases, those of limits included when they may be held */
  int limits_asked;
  bool is_draining;
  int64_t drain_deadline_us;
  int drained;
  uint64_t seen; /* a bit for each close reason, request's result and failure to dial */
};

/* The world of the schedule under way: libpq's functions have no argument that leads to it. */
struct world *world_current(void);
void world_enter(struct world *world, uint64_t seed);

/* Checks that nothing is left of it. */
void world_leave(struct world *world);

/* Ends the program with the seed, the step and the text unless `holds`. */
void must(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- chance ---- */

/* Uniform in [0, below); `below` is above 0. */
int64_t world_pick(struct world *world, int64_t below);
bool world_chance(struct world *world, int one_in);

/* How long a message takes: mostly short, sometimes long. Never 0. */
int64_t world_latency(struct world *world);

/* ---- the loop ---- */

/* Runs turns until nothing is left to do at this time. */
void world_settle(struct world *world);

/* Moves the clock on by `span_us`, from event to event. */
void world_advance(struct world *world, int64_t span_us);

/* Moves it in one go, as when the program was stopped. */
void world_stall(struct world *world, int64_t span_us);

/* ---- the server ---- */

/* Connections that count: until the server has seen their end, or the pool may give up on it. */
int server_count(const struct world *world);

/* Whether it may be given up on: it wasn't closed by the server in close_timeout. */
bool line_is_forgotten(const struct pg_conn *line);

void server_login(struct pg_conn *line);
void server_answer(struct pg_conn *line);

/* The client closed, or half-closed: the server will see that. */
void server_sees_end(struct pg_conn *line);

/* Ends one session: with a notice when `sqlstate` isn't NULL. */
void server_kill(struct pg_conn *line, const char *sqlstate);
void server_kill_all(struct world *world, const char *sqlstate);
void server_hang(struct world *world, bool is_hung);

/* Does what is due at the server. */
void server_run(struct world *world);
int64_t line_next_event(const struct pg_conn *line);
struct pg_conn *line_by_fd(struct world *world, int fd);

/* Frees lines that both ends have let go of. */
void server_sweep(struct world *world, bool is_all);

/* Whether it would tell of these events of the socket as it is now. */
bool watch_tells(const struct pg_watch *watch, int events);

/* UV_READABLE, UV_WRITABLE as the socket's state is now. */
int line_events(const struct pg_conn *line, int fd);

/* ---- names ---- */

int64_t lookups_next_event(const struct world *world);
void lookups_run(struct world *world);
void lookups_hurry(struct world *world);

/* ---- steps ---- */

void steps_run(struct world *world, int count);
void step_release(struct request *request);
void step_acquire(struct world *world);
void step_reload(struct world *world);
void config_draw(struct world *world);

/* ---- invariants ---- */

void check_turn(struct world *world);    /* at the end of each turn */
void check_settled(struct world *world); /* nothing is left to do at this time */
void check_dial(struct world *world);    /* a dial begins */
void check_grant(struct world *world, const struct request *request);

/* The server's word reached the pool. */
void memory_hear(struct pg_conn *line, const char *sqlstate);
void memory_reload(struct world *world, bool is_generation_new);
void memory_note_use(struct world *world);

/* One schedule. */
void schedule_run(struct world *world, uint64_t seed);
