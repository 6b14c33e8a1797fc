/*
 * loop: what every part that waits shares: the libuv loop, the clock, and work put off to the end
 * of the current loop turn.
 *
 * Deferred work is how callbacks never run inside the call that caused them, and how many frames
 * or acknowledgements of one turn become one write. Loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"

typedef void loop_task_cb(void *arg);

/* Embedded by its owner; zeroed before first use. */
struct loop_task {
  struct list_link link;
  struct list *list; /* the queue it stands in; NULL: not queued */
  loop_task_cb *cb;
  void *arg;
  unsigned ran_in_turn;
};

struct loop {
  uv_loop_t *uv; /* borrowed */
  const struct clock *clock;
  struct log_sampler *sampler; /* borrowed; NULL: nothing is sampled */
  struct list queues[2];       /* this turn's work, and the next turn's */
  unsigned current;            /* which of the two is this turn's */
  unsigned turn;
  struct list armed;    /* timers */
  bool is_in_timer;     /* within libuv's pass over expired timers */
  uv_prepare_t prepare; /* runs deferred work before the loop blocks */
  uv_idle_t idle;       /* active while work is deferred, so that the loop doesn't block */
};

void loop_init(struct loop *loop, uv_loop_t *uv, const struct clock *clock);

/* Closes its handles; run the uv loop once more afterwards. Asserts that nothing is deferred. */
void loop_deinit(struct loop *loop);

/* Runs task->cb(task->arg) once, after the current callback returns and before the loop sleeps.
 * Queuing a queued task again does nothing. Work deferred by deferred work runs in the same turn,
 * but no task twice in one: a turn always ends. */
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_cancel(struct loop *loop, struct loop_task *task); /* fine when it isn't queued */

/* A one-shot timer on the loop's clock: when a test moves that clock, timers that are due fire in
 * the next turns, however little real time passed. Embedded; its owner frees its own memory only in
 * the closed callback. */
struct loop_timer {
  uv_timer_t uv;
  struct loop *loop;
  loop_task_cb *cb;
  void *arg;
  loop_task_cb *closed_cb;
  void *closed_arg;
  struct list_link link; /* in loop->armed */
  int64_t at_us;         /* CLOCK_NEVER: not armed */
  bool is_open;
};
void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_task_cb *cb, void *arg);

/* (Re)arms it for a monotonic time; CLOCK_NEVER disarms. A time that passed fires next turn; set
 * within a timer's callback, after a millisecond, so that the loop polls in between. */
void loop_timer_set(struct loop_timer *timer, int64_t at_us);

/* Never fires again. `closed` (may be NULL) runs once its memory is no longer used. */
void loop_timer_close(struct loop_timer *timer, loop_task_cb *closed, void *arg);
