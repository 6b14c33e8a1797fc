/*
 * deadlines: many deadlines on one timer: a binary heap, so that a call costs no timer of its own.
 */
#pragma once

#include <stddef.h>

#include "base/loop.h"

/* Embedded by its owner; zeroed before first use. */
struct grpc_deadline {
  int64_t at_us; /* monotonic */
  size_t slot;   /* its place in the heap, from 1; 0 when it isn't in one */
};

typedef void grpc_deadline_cb(struct grpc_deadline *deadline);

struct grpc_deadlines {
  struct loop_timer timer;
  struct grpc_deadline **heap; /* owned; the entries are borrowed */
  size_t count, cap;
  int64_t armed_us; /* what the timer is set to */
  grpc_deadline_cb *expired;
};

/* `expired` runs from the loop, once per deadline, which is out of the heap by then. Many that have
 * passed take several of its turns. */
void grpc_deadlines_init(struct grpc_deadlines *d, struct loop *loop, grpc_deadline_cb *expired);

/* CLOCK_NEVER is left out. */
void grpc_deadlines_add(struct grpc_deadlines *d, struct grpc_deadline *deadline, int64_t at_us);

/* Fine when it isn't in the heap. */
void grpc_deadlines_remove(struct grpc_deadlines *d, struct grpc_deadline *deadline);

/* `closed` runs when the memory is no longer used. */
void grpc_deadlines_close(struct grpc_deadlines *d, loop_task_cb *closed, void *arg);
