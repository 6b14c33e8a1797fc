/*
 * stats: what a pool tells of itself: one snapshot for logs, metrics and tests.
 *
 * The lists below give each state, reason and result its name, for labels and log lines.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"

/* clang-format off */
#define PG_POOL_STATES(X)   /* what the last dials say of the server */    \
  X(STARTING, "starting")   /* no dial has ended yet */                     \
  X(UP,       "up")                                                         \
  X(DEGRADED, "degraded")   /* dials fail, connections are left */          \
  X(DOWN,     "down")       /* dials fail, no connection is left */         \
  X(FROZEN,   "frozen")     /* connected, and nothing answers */            \
  X(DRAINING, "draining")                                                   \
  X(CLOSED,   "closed")

#define PG_CLOSE_REASONS(X)                                                                       \
  X(MAX_IDLE,        "max_idle")        /* above max_idle_conns for idle_shrink_delay */            \
  X(IDLE_TIME,       "idle_time")       /* unused for conn_max_idle_time */                         \
  X(LIFETIME,        "lifetime")        /* conn_max_lifetime */                                     \
  X(RESIZE,          "resize")          /* above a max_open_conns that was lowered */               \
  X(BROKEN,          "broken")          /* lost without a word */                                   \
  X(SERVER_SHUTDOWN, "server_shutdown") /* 57P01, 57P02 */                                          \
  X(SERVER_IDLE,     "server_idle")     /* 57P05, 25P03: the server's own idle timeouts */          \
  X(READ_ONLY,       "read_only")       /* 25006: a demoted primary */                              \
  X(DEADLINE,        "deadline")        /* no answer in time */                                     \
  X(PING_FAILED,     "ping_failed")     /* no sign of life after validate_after_idle */             \
  X(PROTOCOL,        "protocol")        /* left in a state that can't be cleaned up */              \
  X(GENERATION,      "generation")      /* older than a shutdown, a demotion or a reload */         \
  X(ADDRESS,         "address")         /* its host has other addresses now */                      \
  X(CANCEL,          "cancel")          /* given back amid a statement */                           \
  X(UNCONFIRMED,     "unconfirmed")     /* a commit didn't wait for the standby to the end */       \
  X(SHUTDOWN,        "shutdown")        /* this pool drains */

#define PG_DIAL_FAILURES(X)                                                                        \
  X(REFUSED,  "refused")   /* nobody listens, or the path is broken */                              \
  X(TIMEOUT,  "timeout")   /* connect_timeout */                                                    \
  X(DNS,      "dns")                                                                                \
  X(TLS,      "tls")                                                                                \
  X(AUTH,     "auth")      /* 28xxx, 3D000, 42501 */                                                \
  X(TOO_MANY, "too_many")  /* 53300 */                                                              \
  X(STARTING, "starting")  /* 57P03, 57P01 */                                                       \
  X(SESSION,  "session")   /* the session isn't what it must be */                                  \
  X(OTHER,    "other")

#define PG_ACQUIRE_RESULTS(X)                                                                      \
  X(OK,         "ok")                                                                               \
  X(TIMEOUT,    "timeout")                                                                          \
  X(QUEUE_FULL, "queue_full")                                                                       \
  X(CANCELED,   "canceled")  /* by its caller */                                                    \
  X(DOWN,       "down")                                                                             \
  X(CLOSED,     "closed")    /* the pool drains */
/* clang-format on */

#define PG_ENUM_STATE(name, text)   PG_POOL_##name,
#define PG_ENUM_CLOSE(name, text)   PG_CLOSE_##name,
#define PG_ENUM_DIAL(name, text)    PG_DIAL_##name,
#define PG_ENUM_ACQUIRE(name, text) PG_ACQUIRE_##name,
enum pg_pool_state { PG_POOL_STATES(PG_ENUM_STATE) PG_POOL_STATE_COUNT };
enum pg_close_reason { PG_CLOSE_REASONS(PG_ENUM_CLOSE) PG_CLOSE_REASON_COUNT };
enum pg_dial_failure { PG_DIAL_FAILURES(PG_ENUM_DIAL) PG_DIAL_FAILURE_COUNT };
enum pg_acquire_result { PG_ACQUIRE_RESULTS(PG_ENUM_ACQUIRE) PG_ACQUIRE_RESULT_COUNT };
#undef PG_ENUM_STATE
#undef PG_ENUM_CLOSE
#undef PG_ENUM_DIAL
#undef PG_ENUM_ACQUIRE

/* The texts of the lists above, for logs and labels. */
const char *pg_pool_state_name(enum pg_pool_state state);
const char *pg_close_reason_name(enum pg_close_reason reason);
const char *pg_dial_failure_name(enum pg_dial_failure failure);
const char *pg_acquire_result_name(enum pg_acquire_result result);

/* Labels of what PostgreSQL refused: "53100", "22xxx" (the others of class 22), "other", and what
 * stands for a SQLSTATE where none came. */
enum { PG_REFUSAL_LABELS_MAX = 40 };
#define PG_REFUSAL_LOST    "lost"    /* the connection ended */
#define PG_REFUSAL_TIMEOUT "timeout" /* no answer by the deadline */
int pg_refusal_label_count(void);
const char *pg_refusal_label(int index);
int pg_refusal_label_of(const char *sqlstate);

struct pg_server_limits {
  int version;         /* as libpq says it: 150018 */
  int max_connections; /* the server's */
  int usable;          /* of those a role like ours may have, all its daemons together */
};

/* What the session of the connection made last was found to be. */
struct pg_session_facts {
  bool is_pooled;      /* a pooler stands between */
  char settings[1024]; /* "statement_timeout 30s; ...", as read back; "" before the first */
};

/* One consistent snapshot. opened - (all of closed) = open = in_use + idle, and
 * open + connecting + closing <= max_open but after that was lowered. */
struct pg_pool_stats {
  enum pg_pool_state state;
  int max_open;           /* the settings that hold */
  int effective_max_open; /* below max_open while the server has no more connections to give */
  int max_idle;           /* 0: none are kept */
  int64_t conn_max_lifetime_us; /* CLOCK_NEVER: off */
  int64_t conn_max_idle_time_us;

  int open; /* connections the server knows, dials not included */
  int in_use;
  int idle; /* those asked for a sign of life included */
  int connecting;
  int closing; /* closed here, not yet by the server; they count against max_open_conns */
  int waiting;
  int generation;
  int64_t oldest_wait_us;   /* 0: nobody waits */
  int64_t oldest_in_use_us; /* 0: none is in use */
  int64_t backoff_us;       /* until the next dial may start; 0: now */

  int64_t acquires[PG_ACQUIRE_RESULT_COUNT]; /* requests, by how they ended */
  int64_t waits;                             /* requests that had to queue */
  int64_t wait_us; /* time spent in the queue, by the served and the failed alike */
  int64_t opened;  /* dials that succeeded */
  int64_t open_failures[PG_DIAL_FAILURE_COUNT];
  int64_t closed[PG_CLOSE_REASON_COUNT]; /* of the opened */
  int64_t close_timeouts; /* closed connections that the server hadn't closed in close_timeout */
  int64_t pings_ok;
  int64_t pings_failed;
  int64_t refusals[PG_REFUSAL_LABELS_MAX]; /* of leases' statements, by label */

  struct histogram acquire_us; /* from request to connection, of the served */
  struct histogram connect_us; /* of dials that succeeded */
  struct histogram hold_us;    /* from connection to release */

  struct pg_session_facts session;
  struct pg_server_limits server; /* zero until pg_limits_read() was answered */
  int64_t memory_bytes; /* most that the pool takes by its settings, big results not included */
};

/* Over all reasons. */
int64_t pg_stats_closed(const struct pg_pool_stats *stats);
int64_t pg_stats_open_failures(const struct pg_pool_stats *stats);
