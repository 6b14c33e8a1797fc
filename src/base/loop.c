#include "base/loop.h"

#include <assert.h>

static bool has_deferred(const struct loop *loop) {
  return loop->queues[0].count + loop->queues[1].count > 0;
}

static void run_deferred(struct loop *loop) {
  struct list *queue = &loop->queues[loop->current];
  struct list_link *link;
  while ((link = list_pop_front(queue))) {
    struct loop_task *task = LIST_ENTRY(link, struct loop_task, link);
    task->list = NULL;
    task->ran_in_turn = loop->turn;
    task->cb(task->arg);
  }
  loop->current = !loop->current;
  loop->turn++;
}

static void wake_due_timers(struct loop *loop);

static void on_prepare(uv_prepare_t *handle) {
  struct loop *loop = handle->data;
  wake_due_timers(loop);
  run_deferred(loop);
  if (!has_deferred(loop))
    uv_idle_stop(&loop->idle);
}

static void on_idle(uv_idle_t *handle) {
  (void)handle;
}

void loop_init(struct loop *loop, uv_loop_t *uv, const struct clock *clock) {
  *loop = (struct loop){.uv = uv, .clock = clock, .turn = 1};
  uv_prepare_init(uv, &loop->prepare);
  uv_idle_init(uv, &loop->idle);
  loop->prepare.data = loop;
  uv_prepare_start(&loop->prepare, on_prepare);
  /* Alone it doesn't keep the loop alive; deferred work does, by the idle handle. */
  uv_unref((uv_handle_t *)&loop->prepare);
}

void loop_deinit(struct loop *loop) {
  assert(!has_deferred(loop));
  uv_close((uv_handle_t *)&loop->prepare, NULL);
  uv_close((uv_handle_t *)&loop->idle, NULL);
}

void loop_defer(struct loop *loop, struct loop_task *task) {
  if (task->list)
    return;
  bool ran = task->ran_in_turn == loop->turn;
  task->list = &loop->queues[ran ? !loop->current : loop->current];
  list_push_back(task->list, &task->link);
  uv_idle_start(&loop->idle, on_idle);
}

void loop_cancel(struct loop *loop, struct loop_task *task) {
  (void)loop;
  if (!task->list)
    return;
  list_remove(task->list, &task->link);
  task->list = NULL;
}

/* ---- timers ---- */

static void set_time(struct loop_timer *timer, int64_t at_us) {
  if (timer->at_us != CLOCK_NEVER)
    list_remove(&timer->loop->armed, &timer->link);
  timer->at_us = at_us;
  if (at_us != CLOCK_NEVER)
    list_push_back(&timer->loop->armed, &timer->link);
}

static void on_timer(uv_timer_t *handle);

/* libuv runs expired timers until none is left. Within that pass its time must stand still and no
 * timer may expire at once, or timers that arm one another would keep the loop from polling. */
static void start(struct loop_timer *timer) {
  struct loop *loop = timer->loop;
  int ms = deadline_remaining_ms(loop->clock, timer->at_us);
  if (!loop->is_in_timer)
    uv_update_time(loop->uv);
  else if (ms == 0)
    ms = 1;
  uv_timer_start(&timer->uv, on_timer, (uint64_t)ms, 0);
}

static void on_timer(uv_timer_t *handle) {
  struct loop_timer *timer = handle->data;
  struct loop *loop = timer->loop;
  loop->is_in_timer = true;
  /* libuv's clock may run ahead of an injected one, and its milliseconds are coarser. */
  if (clock_monotonic_us(loop->clock) < timer->at_us) {
    start(timer);
  } else {
    set_time(timer, CLOCK_NEVER);
    timer->cb(timer->arg);
  }
  loop->is_in_timer = false;
}

/* libuv follows the machine's clock alone; any other may have jumped since the last turn. */
static void wake_due_timers(struct loop *loop) {
  if (loop->clock == &clock_system)
    return;
  int64_t now = clock_monotonic_us(loop->clock);
  for (struct list_link *link = loop->armed.first; link; link = link->next) {
    struct loop_timer *timer = LIST_ENTRY(link, struct loop_timer, link);
    if (timer->at_us <= now)
      uv_timer_start(&timer->uv, on_timer, 0, 0);
  }
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_task_cb *cb, void *arg) {
  *timer = (struct loop_timer){
      .loop = loop, .cb = cb, .arg = arg, .at_us = CLOCK_NEVER, .is_open = true};
  uv_timer_init(loop->uv, &timer->uv);
  timer->uv.data = timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t at_us) {
  if (!timer->is_open)
    return;
  set_time(timer, at_us);
  if (at_us == CLOCK_NEVER)
    uv_timer_stop(&timer->uv);
  else
    start(timer);
}

static void on_timer_closed(uv_handle_t *handle) {
  struct loop_timer *timer = handle->data;
  if (timer->closed_cb)
    timer->closed_cb(timer->closed_arg);
}

void loop_timer_close(struct loop_timer *timer, loop_task_cb *closed, void *arg) {
  assert(timer->is_open);
  set_time(timer, CLOCK_NEVER);
  timer->is_open = false;
  timer->closed_cb = closed;
  timer->closed_arg = arg;
  uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}
