/*
 * turns: which query may ask PostgreSQL next.
 *
 * Queries take their turn before they take a connection of the pool, so that what readers do never
 * takes those that writing needs: so many run at once in all (query.max_running), so many of one
 * caller, and so many of those that no index serves. Those above wait here, not in the pool. The
 * callers are served in turn, each its own in the order they came, and where both wait, what an
 * index serves and what none serves alternate. Who waits is bounded as well; when there is no room,
 * the caller with the most waiting goes without.
 *
 * A turn lasts until its query gives it back, which for a query that was given up is when
 * PostgreSQL has let go of it (run.h). Loop thread only.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"
#include "config/config.h"

struct turns;
struct turn_caller;

enum turn_kind { TURN_INDEXED, TURN_UNINDEXED, TURN_KINDS };

/* ERR_OK: it is the query's turn. ERR_TIMEOUT: the deadline passed; ERR_EXHAUSTED: too many
 * wait. Then there is nothing to give back. */
typedef void turn_cb(void *arg, enum error_code code);

/* Embedded; zeroed before first use. */
struct turn {
  struct list_link link;      /* among those of its caller and kind */
  struct turn_caller *caller; /* NULL: neither waits nor runs */
  enum turn_kind kind;
  bool is_running;
  int64_t deadline_us;
  turn_cb *cb;
  void *arg;
};

/* `loop` and `config` must outlive it; a reload changes the latter. */
struct turns *turns_new(struct loop *loop, const struct config_query *config);

/* When no turn is left. The memory goes once the loop has closed its handles. */
void turns_free(struct turns *turns);

/* Queues `turn`, of which the caller filled kind, deadline_us, cb and arg. `principal` is copied.
 * The callback runs once, never inside this call, unless turns_leave() comes before. */
void turns_ask(struct turns *turns, struct turn *turn, struct str principal);

/* Gives the turn back, or doesn't wait for it any more. Fine for one that has ended. */
void turns_leave(struct turns *turns, struct turn *turn);

struct turns_stats {
  int running[TURN_KINDS];
  int waiting[TURN_KINDS];
  int64_t refused; /* there was no room to wait */
  int64_t expired; /* the deadline passed before their turn */
};
void turns_stats(const struct turns *turns, struct turns_stats *ret_stats);
