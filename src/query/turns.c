#include "query/turns.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* Whoever has a turn or waits for one. */
struct turn_caller {
  struct list_link link;              /* in turns->callers */
  struct list_link rings[TURN_KINDS]; /* in turns->rings[kind] while some of that kind wait */
  struct list waiting[TURN_KINDS];
  int running;
  size_t name_len;
  char name[];
};

struct turns {
  struct loop *loop; /* borrowed, as the next */
  const struct config_query *config;
  struct list callers;
  struct list rings[TURN_KINDS]; /* callers in the order in which they are served */
  enum turn_kind next;           /* the kind to be served first when both wait */
  struct turns_stats stats;
  struct loop_task task;
  struct loop_timer timer; /* the earliest deadline of those who wait, or earlier */
  int64_t wake_at_us;
};

/* ---- callers ---- */

static struct turn_caller *caller_of(struct turns *turns, struct str name) {
  for (struct list_link *link = turns->callers.first; link; link = link->next) {
    struct turn_caller *caller = LIST_ENTRY(link, struct turn_caller, link);
    if (caller->name_len == name.len && memcmp(caller->name, name.data, name.len) == 0)
      return caller;
  }
  struct turn_caller *caller = xcalloc(1, sizeof(*caller) + name.len + 1);
  caller->name_len = name.len;
  memcpy(caller->name, name.len ? name.data : "", name.len);
  list_push_back(&turns->callers, &caller->link);
  return caller;
}

static size_t caller_waiting(const struct turn_caller *caller) {
  return caller->waiting[TURN_INDEXED].count + caller->waiting[TURN_UNINDEXED].count;
}

static void forget_if_gone(struct turns *turns, struct turn_caller *caller) {
  if (caller->running > 0 || caller_waiting(caller) > 0)
    return;
  list_remove(&turns->callers, &caller->link);
  free(caller);
}

/* ---- those who wait ---- */

static void queue(struct turns *turns, struct turn *turn) {
  struct turn_caller *caller = turn->caller;
  if (caller->waiting[turn->kind].count == 0)
    list_push_back(&turns->rings[turn->kind], &caller->rings[turn->kind]);
  list_push_back(&caller->waiting[turn->kind], &turn->link);
  turns->stats.waiting[turn->kind]++;
}

static void unqueue(struct turns *turns, struct turn *turn) {
  struct turn_caller *caller = turn->caller;
  assert(caller); /* who waits has one */
  list_remove(&caller->waiting[turn->kind], &turn->link);
  turns->stats.waiting[turn->kind]--;
  if (caller->waiting[turn->kind].count == 0)
    list_remove(&turns->rings[turn->kind], &caller->rings[turn->kind]);
}

static void settle(struct turns *turns, struct turn *turn, enum error_code code) {
  struct turn_caller *caller = turn->caller;
  unqueue(turns, turn);
  turn->caller = NULL;
  forget_if_gone(turns, caller);
  turn->cb(turn->arg, code);
}

/* The deadlines of one caller's list; the callback may end others, so the list is begun anew. */
static struct turn *find_expired(const struct list *waiting, int64_t now_us, int64_t *earliest_us) {
  for (struct list_link *link = waiting->first; link; link = link->next) {
    struct turn *turn = LIST_ENTRY(link, struct turn, link);
    if (turn->deadline_us <= now_us)
      return turn;
    *earliest_us = deadline_min(*earliest_us, turn->deadline_us);
  }
  return NULL;
}

static struct turn *next_expired(const struct turns *turns, int64_t now_us, int64_t *earliest_us) {
  struct turn *found = NULL;
  *earliest_us = CLOCK_NEVER;
  for (struct list_link *link = turns->callers.first; link && !found; link = link->next) {
    const struct turn_caller *caller = LIST_ENTRY(link, struct turn_caller, link);
    for (int kind = 0; kind < TURN_KINDS && !found; kind++)
      found = find_expired(&caller->waiting[kind], now_us, earliest_us);
  }
  return found;
}

static void expire(struct turns *turns) {
  int64_t now_us = clock_monotonic_us(turns->loop->clock);
  if (now_us < turns->wake_at_us)
    return;
  struct turn *turn;
  while ((turn = next_expired(turns, now_us, &turns->wake_at_us))) {
    turns->stats.expired++;
    settle(turns, turn, ERR_TIMEOUT);
  }
  loop_timer_set(&turns->timer, turns->wake_at_us);
}

/* ---- too many ---- */

static struct turn_caller *longest_queue(const struct turns *turns) {
  struct turn_caller *longest = LIST_ENTRY(turns->callers.first, struct turn_caller, link);
  for (struct list_link *link = turns->callers.first; link; link = link->next) {
    struct turn_caller *caller = LIST_ENTRY(link, struct turn_caller, link);
    if (caller_waiting(caller) > caller_waiting(longest))
      longest = caller;
  }
  return longest;
}

/* The newest of the caller's, of the kind that it has more of. */
static struct turn *newest_of(const struct turn_caller *caller) {
  const struct list *indexed = &caller->waiting[TURN_INDEXED];
  const struct list *unindexed = &caller->waiting[TURN_UNINDEXED];
  const struct list *longer = unindexed->count >= indexed->count ? unindexed : indexed;
  return LIST_ENTRY(longer->last, struct turn, link);
}

static void refuse_surplus(struct turns *turns) {
  const int *waiting = turns->stats.waiting;
  while (waiting[TURN_INDEXED] + waiting[TURN_UNINDEXED] > turns->config->max_waiting) {
    turns->stats.refused++;
    settle(turns, newest_of(longest_queue(turns)), ERR_EXHAUSTED);
  }
}

/* ---- whose turn it is ---- */

static bool has_room(const struct turns *turns, enum turn_kind kind) {
  const int *running = turns->stats.running;
  return running[TURN_INDEXED] + running[TURN_UNINDEXED] < turns->config->max_running &&
         (kind == TURN_INDEXED || running[TURN_UNINDEXED] < turns->config->max_unindexed);
}

static struct turn *first_of_ring(const struct turns *turns, enum turn_kind kind) {
  if (!has_room(turns, kind))
    return NULL;
  for (struct list_link *link = turns->rings[kind].first; link; link = link->next) {
    struct turn_caller *caller =
        LIST_ENTRY(link - kind, struct turn_caller, rings); /* the ring's place in the caller */
    if (caller->running < turns->config->max_running_per_principal)
      return LIST_ENTRY(caller->waiting[kind].first, struct turn, link);
  }
  return NULL;
}

static struct turn *pick(const struct turns *turns) {
  struct turn *turn = first_of_ring(turns, turns->next);
  return turn ? turn : first_of_ring(turns, 1 - turns->next);
}

/* Its caller comes last now. */
static void start(struct turns *turns, struct turn *turn) {
  struct turn_caller *caller = turn->caller;
  struct list *ring = &turns->rings[turn->kind];
  unqueue(turns, turn);
  if (caller->waiting[turn->kind].count > 0) {
    list_remove(ring, &caller->rings[turn->kind]);
    list_push_back(ring, &caller->rings[turn->kind]);
  }
  caller->running++;
  turns->stats.running[turn->kind]++;
  turns->next = 1 - turn->kind;
  turn->is_running = true;
  turn->cb(turn->arg, ERR_OK);
}

static void on_task(void *arg) {
  struct turns *turns = arg;
  struct turn *turn;
  expire(turns);
  while ((turn = pick(turns)))
    start(turns, turn);
  refuse_surplus(turns);
}

/* ---- the face ---- */

void turns_ask(struct turns *turns, struct turn *turn, struct str principal) {
  turn->caller = caller_of(turns, principal);
  turn->is_running = false;
  queue(turns, turn);
  if (turn->deadline_us < turns->wake_at_us) {
    turns->wake_at_us = turn->deadline_us;
    loop_timer_set(&turns->timer, turns->wake_at_us);
  }
  loop_defer(turns->loop, &turns->task);
}

void turns_leave(struct turns *turns, struct turn *turn) {
  struct turn_caller *caller = turn->caller;
  if (!caller)
    return;
  if (turn->is_running) {
    caller->running--;
    turns->stats.running[turn->kind]--;
  } else {
    unqueue(turns, turn);
  }
  turn->caller = NULL;
  turn->is_running = false;
  forget_if_gone(turns, caller);
  loop_defer(turns->loop, &turns->task);
}

void turns_stats(const struct turns *turns, struct turns_stats *ret_stats) {
  *ret_stats = turns->stats;
}

struct turns *turns_new(struct loop *loop, const struct config_query *config) {
  struct turns *turns = xcalloc(1, sizeof(*turns));
  turns->loop = loop;
  turns->config = config;
  turns->task = (struct loop_task){.cb = on_task, .arg = turns};
  turns->wake_at_us = CLOCK_NEVER;
  loop_timer_init(&turns->timer, loop, on_task, turns);
  return turns;
}

static void on_timer_closed(void *arg) {
  free(arg);
}

void turns_free(struct turns *turns) {
  assert(turns->callers.count == 0);
  loop_cancel(turns->loop, &turns->task);
  loop_timer_close(&turns->timer, on_timer_closed, turns);
}
