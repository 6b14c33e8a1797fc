#include "grpc/deadlines.h"

#include <stdlib.h>

#include "base/alloc.h"

#define FIRST_CAP 64
/* In one turn, half a millisecond's work: a crowd may have agreed on the time. */
#define EXPIRED_AT_ONCE 64

static void place(struct grpc_deadlines *d, size_t slot, struct grpc_deadline *deadline) {
  d->heap[slot - 1] = deadline;
  deadline->slot = slot;
}

static struct grpc_deadline *at(const struct grpc_deadlines *d, size_t slot) {
  return d->heap[slot - 1];
}

/* Moves `deadline` from the hole at `slot` towards the root, to where it belongs. */
static void sift_up(struct grpc_deadlines *d, size_t slot, struct grpc_deadline *deadline) {
  for (; slot > 1 && at(d, slot / 2)->at_us > deadline->at_us; slot /= 2)
    place(d, slot, at(d, slot / 2));
  place(d, slot, deadline);
}

static void sift_down(struct grpc_deadlines *d, size_t slot, struct grpc_deadline *deadline) {
  for (size_t child = slot * 2; child <= d->count; child = slot * 2) {
    if (child < d->count && at(d, child + 1)->at_us < at(d, child)->at_us)
      child++;
    if (at(d, child)->at_us >= deadline->at_us)
      break;
    place(d, slot, at(d, child));
    slot = child;
  }
  place(d, slot, deadline);
}

static void arm(struct grpc_deadlines *d) {
  d->armed_us = d->count > 0 ? d->heap[0]->at_us : CLOCK_NEVER;
  loop_timer_set(&d->timer, d->armed_us);
}

static void on_timer(void *arg) {
  struct grpc_deadlines *d = arg;
  int64_t now = clock_monotonic_us(d->timer.loop->clock);
  for (int i = 0; i < EXPIRED_AT_ONCE && d->count > 0 && d->heap[0]->at_us <= now; i++) {
    struct grpc_deadline *first = d->heap[0];
    grpc_deadlines_remove(d, first);
    d->expired(first);
  }
  arm(d);
}

void grpc_deadlines_init(struct grpc_deadlines *d, struct loop *loop, grpc_deadline_cb *expired) {
  *d = (struct grpc_deadlines){.armed_us = CLOCK_NEVER, .expired = expired};
  loop_timer_init(&d->timer, loop, on_timer, d);
}

void grpc_deadlines_add(struct grpc_deadlines *d, struct grpc_deadline *deadline, int64_t at_us) {
  deadline->at_us = at_us;
  if (at_us == CLOCK_NEVER)
    return;
  if (d->count == d->cap) {
    d->cap = d->cap ? d->cap * 2 : FIRST_CAP;
    d->heap = xrealloc(d->heap, d->cap * sizeof(struct grpc_deadline *));
  }
  sift_up(d, ++d->count, deadline);
  if (at_us < d->armed_us)
    arm(d);
}

/* The timer stays as it is: firing once for nothing is cheaper than setting it anew each time. */
void grpc_deadlines_remove(struct grpc_deadlines *d, struct grpc_deadline *deadline) {
  size_t slot = deadline->slot;
  if (slot == 0)
    return;
  deadline->slot = 0;
  struct grpc_deadline *last = at(d, d->count--);
  if (last == deadline)
    return;
  if (slot > 1 && at(d, slot / 2)->at_us > last->at_us)
    sift_up(d, slot, last);
  else
    sift_down(d, slot, last);
}

void grpc_deadlines_close(struct grpc_deadlines *d, loop_task_cb *closed, void *arg) {
  free(d->heap);
  d->heap = NULL;
  d->count = d->cap = 0;
  loop_timer_close(&d->timer, closed, arg);
}
