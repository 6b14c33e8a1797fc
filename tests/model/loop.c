/* base/loop.h and pg/watch.h on a clock turned by hand, in place of libuv. */
#include "model/world.h"
#include "pg/knock.h"

#include <stdlib.h>

enum { TURNS_MAX = 3000 };

static struct world *world_of(struct loop *loop) {
  return LIST_ENTRY(loop, struct world, loop);
}

/* ---- deferred work ---- */

void loop_defer(struct loop *loop, struct loop_task *task) {
  if (task->list)
    return;
  bool ran = task->ran_in_turn == loop->turn;
  task->list = &loop->queues[ran ? !loop->current : loop->current];
  list_push_back(task->list, &task->link);
}

void loop_cancel(struct loop *loop, struct loop_task *task) {
  (void)loop;
  if (!task->list)
    return;
  list_remove(task->list, &task->link);
  task->list = NULL;
}

static void run_deferred(struct loop *loop) {
  struct list_link *link;
  while ((link = list_pop_front(&loop->queues[loop->current]))) {
    struct loop_task *task = LIST_ENTRY(link, struct loop_task, link);
    task->list = NULL;
    task->ran_in_turn = loop->turn;
    task->cb(task->arg);
  }
  loop->current = !loop->current;
  loop->turn++;
}

/* ---- timers ---- */

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_task_cb *cb, void *arg) {
  *timer = (struct loop_timer){
      .loop = loop, .cb = cb, .arg = arg, .at_us = CLOCK_NEVER, .is_open = true};
}

static void disarm(struct loop_timer *timer) {
  if (timer->at_us != CLOCK_NEVER)
    list_remove(&timer->loop->armed, &timer->link);
  timer->at_us = CLOCK_NEVER;
}

void loop_timer_set(struct loop_timer *timer, int64_t at_us) {
  if (!timer->is_open)
    return;
  disarm(timer);
  timer->at_us = at_us;
  /* One that is set in a turn doesn't fire in it. */
  timer->uv.timeout = timer->loop->turn;
  if (at_us != CLOCK_NEVER)
    list_push_back(&timer->loop->armed, &timer->link);
}

void loop_timer_close(struct loop_timer *timer, loop_task_cb *closed, void *arg) {
  must(timer->is_open, "a timer is closed twice");
  disarm(timer);
  timer->is_open = false;
  timer->closed_cb = closed;
  timer->closed_arg = arg;
  list_push_back(&world_of(timer->loop)->timers_closed, &timer->link);
}

static struct loop_timer *due_timer(const struct world *world, unsigned turn) {
  for (struct list_link *link = world->loop.armed.first; link; link = link->next) {
    struct loop_timer *timer = LIST_ENTRY(link, struct loop_timer, link);
    if (timer->at_us <= world->now_us && (timer->uv.timeout != turn || !world->is_loop_running))
      return timer;
  }
  return NULL;
}

static void fire_timers(struct world *world) {
  struct loop_timer *timer;
  while ((timer = due_timer(world, world->loop.turn))) {
    disarm(timer);
    timer->cb(timer->arg);
  }
}

static void end_closed_timers(struct world *world) {
  struct list_link *link;
  while ((link = list_pop_front(&world->timers_closed))) {
    struct loop_timer *timer = LIST_ENTRY(link, struct loop_timer, link);
    if (timer->closed_cb)
      timer->closed_cb(timer->closed_arg);
  }
}

/* ---- watches ---- */

struct pg_watch {
  struct list_link link;
  struct world *world;
  int fd;
  int events;
  unsigned socket; /* the one it was registered with */
  bool is_closed;
  pg_watch_cb *cb;
  void *arg;
};

/* It can't be tried: then only connections tell whether the server lives. */
struct pg_knock *pg_knock_start(struct loop *loop, const struct pg_endpoint *at, pg_knock_cb *cb,
                                void *arg) {
  (void)loop;
  (void)at;
  (void)cb;
  (void)arg;
  return NULL;
}

void pg_knock_abandon(struct pg_knock *knock) {
  must(!knock, "a knock that never was");
}

struct pg_watch *pg_watch_open(struct loop *loop, int fd, pg_watch_cb *cb, void *arg) {
  struct world *world = world_of(loop);
  must(line_by_fd(world, fd) != NULL, "a watch for fd %d, which is closed", fd);
  if (world->is_faulty && world_chance(world, 400))
    return NULL;
  struct pg_watch *watch = calloc(1, sizeof(*watch));
  *watch = (struct pg_watch){.world = world, .fd = fd, .cb = cb, .arg = arg};
  list_push_back(&world->watches, &watch->link);
  return watch;
}

int pg_watch_fd(const struct pg_watch *watch) {
  return watch->fd;
}

void pg_watch_set(struct pg_watch *watch, int events) {
  must(!watch->is_closed, "a closed watch is set");
  /* Changing what is watched keeps the registration, and that died with its socket. */
  if (watch->events == 0) {
    const struct pg_conn *line = line_by_fd(watch->world, watch->fd);
    must(line != NULL, "fd %d is watched and closed", watch->fd);
    watch->socket = line ? line->socket : 0;
  }
  watch->events = events;
}

void pg_watch_stop(struct pg_watch *watch) {
  watch->events = 0;
}

void pg_watch_close(struct pg_watch *watch) {
  if (watch)
    watch->is_closed = true;
}

static int watch_events(const struct pg_watch *watch) {
  if (watch->is_closed || watch->events == 0)
    return 0;
  const struct pg_conn *line = line_by_fd(watch->world, watch->fd);
  must(line != NULL, "fd %d is watched and closed", watch->fd);
  if (!line || line->socket != watch->socket)
    return 0;
  return line_events(line, watch->fd) & watch->events;
}

bool watch_tells(const struct pg_watch *watch, int events) {
  if (!watch || watch->is_closed || (watch->events & events) != events)
    return false;
  const struct pg_conn *line = line_by_fd(watch->world, watch->fd);
  return line && line->socket == watch->socket;
}

static bool is_any_ready(const struct world *world) {
  for (struct list_link *link = world->watches.first; link; link = link->next) {
    if (watch_events(LIST_ENTRY(link, struct pg_watch, link)) != 0)
      return true;
  }
  return false;
}

static void dispatch(struct world *world) {
  bool is_one_only = world_chance(world, 2);
  for (struct list_link *link = world->watches.first; link; link = link->next) {
    struct pg_watch *watch = LIST_ENTRY(link, struct pg_watch, link);
    int events = watch_events(watch);
    if (events == 0)
      continue;
    watch->cb(watch->arg, 0, events);
    if (is_one_only)
      return;
  }
}

static void end_closed_watches(struct world *world) {
  struct list_link *next;
  for (struct list_link *link = world->watches.first; link; link = next) {
    struct pg_watch *watch = LIST_ENTRY(link, struct pg_watch, link);
    next = link->next;
    if (!watch->is_closed)
      continue;
    list_remove(&world->watches, link);
    free(watch);
  }
}

/* ---- turns ---- */

static void turn(struct world *world) {
  bool are_timers_first = world_chance(world, 2);
  world->is_loop_running = true;
  if (are_timers_first)
    fire_timers(world);
  lookups_run(world);
  dispatch(world);
  if (!are_timers_first)
    fire_timers(world);
  run_deferred(&world->loop);
  end_closed_watches(world);
  end_closed_timers(world);
  world->is_loop_running = false;
  server_sweep(world, false);
  check_turn(world);
}

static bool is_work_left(const struct world *world) {
  const struct loop *loop = &world->loop;
  return loop->queues[0].count + loop->queues[1].count > 0 || world->timers_closed.count > 0 ||
         due_timer(world, 0) || lookups_next_event(world) <= world->now_us || is_any_ready(world);
}

void world_settle(struct world *world) {
  server_run(world);
  for (int turns = 0; is_work_left(world); turns++) {
    must(turns < TURNS_MAX, "the loop spins");
    turn(world);
  }
  end_closed_watches(world);
  check_settled(world);
}

static int64_t next_event(const struct world *world) {
  int64_t at_us = lookups_next_event(world);
  for (struct list_link *link = world->loop.armed.first; link; link = link->next)
    at_us = deadline_min(at_us, LIST_ENTRY(link, struct loop_timer, link)->at_us);
  for (struct list_link *link = world->lines.first; link; link = link->next)
    at_us = deadline_min(at_us, line_next_event(LIST_ENTRY(link, struct pg_conn, link)));
  return at_us;
}

void world_advance(struct world *world, int64_t span_us) {
  int64_t end_us = world->now_us + span_us;
  world_settle(world);
  while (world->now_us < end_us) {
    int64_t at_us = next_event(world);
    must(at_us > world->now_us, "an event of the past is left");
    world->now_us = deadline_min(at_us, end_us);
    world_settle(world);
  }
}

void world_stall(struct world *world, int64_t span_us) {
  world_settle(world);
  world->now_us += span_us;
  /* What was due meanwhile is late. */
  memory_note_use(world);
  world_settle(world);
}
