/*
 * pulse: whether PostgreSQL answers at all, so that one that is frozen (its machine stopped, its
 * network cut without a word) is known within seconds, and a long statement isn't taken for that.
 *
 * Each byte from the server, on whichever connection, is a sign of life. After a third of
 * database.frozen_after without one it is asked for: by an empty pipeline on an idle connection,
 * or, when all are in use or there is none, by a knock (see knock.h). Without any sign until
 * frozen_after has passed it is frozen, and is asked on and on; the first byte ends that.
 *
 *   hears ──silence──▶ asks ──silence──▶ last call ──silence──▶ frozen
 *     ▲                  │                   │                     │
 *     └──────byte────────┴───────────────────┴─────────────────────┘
 *
 * Loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pg/hosts.h"

struct pg_lease;
struct pg_pool;

/* Part of a pool. */
struct pg_pulse {
  int64_t heard_us;       /* the last sign of life */
  int64_t look_at_us;     /* when to look at it again */
  int64_t asked_us;       /* CLOCK_NEVER: no question is open */
  struct pg_knock *knock; /* while that is how it was asked */
  struct pg_lease *conn;  /* while it was asked on this one */
  bool is_last_call;      /* what has arrived meanwhile is read first */
  bool is_frozen;
  bool has_endpoint;
  struct pg_endpoint endpoint; /* of the connection made last */
};

void pg_pulse_init(struct pg_pool *pool);

/* Something came from the server. */
void pg_pulse_hear(struct pg_pool *pool);

/* A dial has succeeded. */
void pg_pulse_note_endpoint(struct pg_lease *conn);

/* The connection closes: what was asked on it isn't answered. */
void pg_pulse_forget(struct pg_lease *conn);

void pg_pulse_run(struct pg_pool *pool, int64_t now_us);
int64_t pg_pulse_next(const struct pg_pool *pool);

/* The settings have changed. */
void pg_pulse_reset(struct pg_pool *pool);
void pg_pulse_stop(struct pg_pool *pool);
