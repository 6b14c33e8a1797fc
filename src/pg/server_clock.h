/*
 * server_clock: how far this machine's wall clock is from PostgreSQL's.
 *
 * PostgreSQL is asked for its time at the start and every 30 s in which the pool was used: one that
 * nobody uses may come to its idle time. Each answer is kept with the monotonic time at the middle
 * of its round trip. The monotonic clock doesn't jump, so PostgreSQL's time is known from then on
 * without asking again, and a jump of this machine's wall clock shows in the next difference that
 * anybody asks for.
 *
 * Which of the two clocks is wrong isn't known here. A difference above a second is logged, and
 * again when it has doubled, halved or changed its sign, and each hour; so is its end.
 *
 * Loop thread only.
 */
#pragma once

#include "base/loop.h"
#include "pg/pool.h"

struct server_clock;

/* What is known now. Zeroed: nothing. */
struct clock_difference {
  bool is_known;          /* PostgreSQL has answered at least once */
  int64_t us;             /* positive: this machine is ahead */
  int64_t uncertainty_us; /* half of the answer's round trip: so far off `us` may be */
};

/* `loop` and `pool` must outlive it. Asks nothing yet. */
struct server_clock *server_clock_new(struct loop *loop, struct pg_pool *pool);

/* Begins to ask. `first` runs once, never inside this call: when the first answer is there, or
 * didn't come within the time for it, or when the clock is closed before. Once. */
void server_clock_start(struct server_clock *clock, loop_task_cb *first, void *arg);

/* Asks no more, gives back its connection, then runs `closed`, never inside this call. What was
 * read can still be asked for. */
void server_clock_close(struct server_clock *clock, loop_task_cb *closed, void *arg);

/* Before start, or after `closed` has run. NULL is fine. */
void server_clock_free(struct server_clock *clock);

/* The difference at this moment: two readings of local clocks, no I/O. */
struct clock_difference server_clock_difference(const struct server_clock *clock);

/* Whether the two clocks differ for sure, by however little. */
bool clock_difference_is_certain(const struct clock_difference *difference);

/* Counts a request that was put off because the two clocks disagree on it. Logs the difference if
 * that is due, and asks PostgreSQL again soon, so that a clock that was set right is believed. */
void server_clock_count_refusal(struct server_clock *clock);

/* The requests counted. */
int64_t server_clock_refusals(const struct server_clock *clock);
