#include "ingest/ingest.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/rivals.h"
#include "ingest/answers.h"
#include "ingest/lane.h"
#include "ingest/queue.h"

/* A request is answered a tenth of its time, at most this much, before its deadline: an answer that
 * comes with the deadline is none. */
#define ANSWER_MARGIN_MAX_US (100LL * 1000)

/* Connections that have written within this share the lanes: a batch can't be stopped, and a large
 * one takes tens of milliseconds. */
#define COMPETES_US 1000000
/* A batch that doesn't get on for so long waits for something. */
#define HELD_UP_US 1000000

struct ingest {
  struct lane_env env;
  const struct config_ingest *config; /* borrowed */
  struct queue queue;
  struct rivals peers;
  struct ingest_stats stats; /* its counters; the gauges come from `queue` */
  struct surroundings surroundings;
  struct lane **lanes; /* owned */
  struct loop_task dispatch;
  struct loop_timer expiry; /* the first request of the queue expires, or a lane is held up */
  int64_t expiry_at_us;
  int64_t expired_us;  /* when the queue was last looked through for what expires */
  struct list waiters; /* struct ingest_waiter.link */
  bool is_draining;
  bool is_closing;
  struct loop_timer drain_limit;
  loop_task_cb *drained;
  void *drained_arg;
  int open_handles; /* lanes and timers still to be closed */
};

static void ingest_dispatch(void *arg);
static void ingest_expire(void *arg);
static void ingest_give_up(void *arg);

static int64_t now_us(const struct ingest *ingest) {
  return clock_monotonic_us(ingest->env.loop->clock);
}

/* ---- statistics ---- */

/* 1, doubled up to 16384, which is above the largest max_batch_events. */
#define BATCH_EVENTS_BOUNDS 15

static void init_stats(struct ingest_stats *stats) {
  histogram_init_time(&stats->commit_us);
  histogram_init_time(&stats->queue_us);
  histogram_init(&stats->batch_events, 1, BATCH_EVENTS_BOUNDS);
}

static void note_taken(struct ingest *ingest, struct batch *batch) {
  int64_t now = now_us(ingest);
  batch->moved_us = now;
  batch_find_peer(batch);
  for (int i = 0; i < batch->request_count; i++)
    histogram_add(&ingest->stats.queue_us, now - batch->requests[i]->queued_us);
}

void ingest_stats(const struct ingest *ingest, struct ingest_stats *ret_stats) {
  *ret_stats = ingest->stats;
  ret_stats->queue_events = ingest->queue.events;
  ret_stats->queue_bytes = ingest->queue.bytes;
}

/* ---- answers ---- */

static void answer_request(void *arg, struct ingest_request *request) {
  (void)arg;
  struct grpc_status *failure = request->failure;
  request->failure = NULL;
  queue_release(request);
  request->on_done(request, failure);
}

static void on_lane_change(void *arg) {
  struct ingest *ingest = arg;
  loop_defer(ingest->env.loop, &ingest->dispatch);
}

/* ---- life cycle ---- */

struct ingest *ingest_new(struct loop *loop, const struct ingest_options *options) {
  const struct config_ingest *config = options->config;
  struct ingest *ingest = xcalloc(1, sizeof(*ingest));
  ingest->config = config;
  ingest->env = (struct lane_env){
      .loop = loop,
      .pool = options->pool,
      .partitions = options->partitions,
      .stats = &ingest->stats,
      .config = config,
      .ledger = options->ledger,
      .signer = options->signer,
      .memory = options->memory,
      .surroundings = &ingest->surroundings,
      .answer = answer_request,
      .on_change = on_lane_change,
      .arg = ingest,
  };
  queue_init(&ingest->queue, config);
  init_stats(&ingest->stats);
  ingest->lanes = xcalloc((size_t)config->lanes, sizeof(struct lane *));
  for (int i = 0; i < config->lanes; i++)
    ingest->lanes[i] = lane_new(&ingest->env);
  ingest->dispatch = (struct loop_task){.cb = ingest_dispatch, .arg = ingest};
  ingest->expiry_at_us = CLOCK_NEVER;
  loop_timer_init(&ingest->expiry, loop, ingest_expire, ingest);
  loop_timer_init(&ingest->drain_limit, loop, ingest_give_up, ingest);
  return ingest;
}

void ingest_free(struct ingest *ingest) {
  if (!ingest)
    return;
  assert(ingest->is_closing && ingest->open_handles == 0);
  loop_cancel(ingest->env.loop, &ingest->dispatch);
  queue_deinit(&ingest->queue);
  free(ingest->lanes);
  free(ingest);
}

/* ---- waiting for room ---- */

/* Each waiter is woken once: one that finds the queue full again stands behind the others. */
static void ingest_wake(struct ingest *ingest) {
  size_t count = ingest->waiters.count;
  for (size_t i = 0; i < count && ingest->waiters.first; i++) {
    if (!ingest->is_draining && !queue_is_low(&ingest->queue))
      return;
    struct ingest_waiter *waiter =
        LIST_ENTRY(list_pop_front(&ingest->waiters), struct ingest_waiter, link);
    waiter->is_waiting = false;
    waiter->cb(waiter->arg);
  }
}

void ingest_wait_writable(struct ingest *ingest, struct ingest_waiter *waiter) {
  if (waiter->is_waiting)
    return;
  waiter->is_waiting = true;
  list_push_back(&ingest->waiters, &waiter->link);
  /* Otherwise whatever leaves the queue brings the next dispatch. */
  if (ingest->queue.requests.count == 0)
    loop_defer(ingest->env.loop, &ingest->dispatch);
}

void ingest_cancel_wait(struct ingest *ingest, struct ingest_waiter *waiter) {
  if (waiter->is_waiting)
    list_remove(&ingest->waiters, &waiter->link);
  waiter->is_waiting = false;
}

/* ---- drain ---- */

static void on_handle_closed(void *arg) {
  struct ingest *ingest = arg;
  if (--ingest->open_handles == 0 && ingest->drained)
    ingest->drained(ingest->drained_arg);
}

static void ingest_close(struct ingest *ingest) {
  ingest->is_closing = true;
  ingest->open_handles = ingest->config->lanes + 2;
  for (int i = 0; i < ingest->config->lanes; i++)
    lane_close(ingest->lanes[i], on_handle_closed, ingest);
  loop_timer_close(&ingest->expiry, on_handle_closed, ingest);
  loop_timer_close(&ingest->drain_limit, on_handle_closed, ingest);
}

static int idle_lanes(const struct ingest *ingest, struct lane **ret_lane) {
  int count = 0;
  for (int i = ingest->config->lanes - 1; i >= 0; i--) {
    if (!lane_is_idle(ingest->lanes[i]))
      continue;
    *ret_lane = ingest->lanes[i];
    count++;
  }
  return count;
}

static void ingest_finish_drain(struct ingest *ingest) {
  struct lane *lane = NULL;
  if (ingest->is_closing || ingest->queue.requests.count > 0 ||
      idle_lanes(ingest, &lane) < ingest->config->lanes)
    return;
  ingest_close(ingest);
}

void ingest_drain(struct ingest *ingest, int64_t deadline_us, loop_task_cb *done, void *arg) {
  assert(!ingest->is_draining);
  ingest->is_draining = true;
  ingest->drained = done;
  ingest->drained_arg = arg;
  loop_timer_set(&ingest->drain_limit, deadline_us);
  loop_defer(ingest->env.loop, &ingest->dispatch);
}

/* ---- what the queue holds too long ---- */

static void answer_expired_requests(struct ingest *ingest, struct list *expired) {
  bool is_down = pg_pool_is_down(ingest->env.pool, NULL);
  struct list_link *link = NULL;
  while ((link = list_pop_front(expired))) {
    struct ingest_request *request = LIST_ENTRY(link, struct ingest_request, link);
    request->failure = answer_expired(request, is_down ? ERR_UNAVAILABLE : ERR_OK);
    ingest->stats.refused[INGEST_REFUSED_EXPIRED]++;
    answer_request(ingest, request);
  }
}

/* The whole queue is looked through then, which takes less than a tenth of a microsecond for each
 * request: not before ten times as long. */
static void ingest_set_expiry(struct ingest *ingest, int64_t at_us) {
  int64_t rested_us = ingest->expired_us + (int64_t)ingest->queue.requests.count;
  ingest->expiry_at_us = at_us < rested_us ? rested_us : at_us;
  loop_timer_set(&ingest->expiry, ingest->expiry_at_us);
}

static void ingest_expire(void *arg) {
  struct ingest *ingest = arg;
  struct list expired = {0};
  ingest->expired_us = now_us(ingest);
  ingest_set_expiry(ingest, queue_expire(&ingest->queue, ingest->expired_us, &expired));
  answer_expired_requests(ingest, &expired);
  loop_defer(ingest->env.loop, &ingest->dispatch);
}

/* The drain's deadline. */
static void ingest_give_up(void *arg) {
  struct ingest *ingest = arg;
  struct list rest = {0};
  struct list_link *link = NULL;
  queue_expire(&ingest->queue, CLOCK_NEVER, &rest);
  while ((link = list_pop_front(&rest))) {
    struct ingest_request *request = LIST_ENTRY(link, struct ingest_request, link);
    request->failure = answer_stopping();
    ingest->stats.refused[INGEST_REFUSED_STOPPING]++;
    answer_request(ingest, request);
  }
  for (int i = 0; i < ingest->config->lanes; i++)
    lane_abort(ingest->lanes[i]);
  loop_defer(ingest->env.loop, &ingest->dispatch);
}

/* ---- requests ---- */

struct ingest_source *ingest_source_new(struct ingest *ingest) {
  return queue_source_new(&ingest->queue, false);
}

void ingest_source_free(struct ingest_source *source) {
  queue_source_free(source);
}

/* The connection that has all lanes but `free`, while others write as well; 0: none does. A lane
 * that is held up doesn't count: who is in it would wait for nothing. */
static uint64_t ingest_glutton(const struct ingest *ingest, const struct lane *free) {
  int64_t now = now_us(ingest);
  uint64_t peer = 0;
  if (!rivals_compete(&ingest->peers, now, COMPETES_US))
    return 0;
  for (int i = 0; i < ingest->config->lanes; i++) {
    const struct batch *batch = lane_batch(ingest->lanes[i]);
    if (ingest->lanes[i] == free)
      continue;
    if (batch->peer == 0 || (peer != 0 && batch->peer != peer) ||
        now - batch->moved_us > HELD_UP_US)
      return 0;
    peer = batch->peer;
  }
  return peer;
}

/* A lane that nobody needs takes what is queued behind another's batch. */
static bool ingest_follow(struct ingest *ingest, struct lane *lane) {
  for (int i = 0; i < ingest->config->lanes; i++) {
    struct lane *leader = ingest->lanes[i];
    if (!lane_may_be_followed(leader) ||
        !queue_take_behind(&ingest->queue, lane_batch(leader), lane_batch(lane)))
      continue;
    note_taken(ingest, lane_batch(lane));
    ingest->stats.followed++;
    lane_start_behind(lane, leader);
    return true;
  }
  return false;
}

/* The free lane isn't for who is queued: unless the others are held up, which is looked at then. */
static void ingest_look_again(struct ingest *ingest) {
  int64_t at_us = now_us(ingest) + HELD_UP_US;
  if (at_us < ingest->expiry_at_us)
    ingest_set_expiry(ingest, at_us);
}

/* One batch, if there is one for `lane`, the first of the free ones. */
static bool ingest_feed(struct ingest *ingest, struct lane *lane, int free_lanes) {
  const struct queue_pick pick = {.free_lanes = free_lanes, .except = ingest_glutton(ingest, lane)};
  if (ingest->queue.ready.count == 0)
    return pick.except == 0 && ingest_follow(ingest, lane);
  if (!queue_take(&ingest->queue, &pick, lane_batch(lane))) {
    ingest_look_again(ingest);
    return false;
  }
  note_taken(ingest, lane_batch(lane));
  lane_start(lane);
  return true;
}

/* At the end of the loop's turn, so that all that came in one turn can share a batch. */
static void ingest_dispatch(void *arg) {
  struct ingest *ingest = arg;
  struct lane *lane = NULL;
  int free_lanes = idle_lanes(ingest, &lane);
  while (free_lanes > 0 && !ingest->is_closing && ingest_feed(ingest, lane, free_lanes))
    free_lanes = idle_lanes(ingest, &lane);
  ingest_wake(ingest);
  if (ingest->is_draining)
    ingest_finish_drain(ingest);
}

static int64_t expires_at(const struct ingest *ingest, const struct ingest_request *request) {
  int64_t now = request->queued_us;
  if (request->deadline_us == CLOCK_NEVER)
    return now + ingest->config->write_timeout_us;
  int64_t margin_us = (request->deadline_us - now) / 10;
  if (margin_us > ANSWER_MARGIN_MAX_US)
    margin_us = ANSWER_MARGIN_MAX_US;
  return margin_us > 0 ? request->deadline_us - margin_us : request->deadline_us;
}

struct grpc_status *ingest_refusal(const struct ingest *ingest, enum error_code code) {
  if (code != ERR_EXHAUSTED)
    return answer_stopping();
  return grpc_status_of_code(ERR_EXHAUSTED,
                             "the queue is full: %d events wait (ingest.max_queue_events %d, of "
                             "which the last eighth is for connections that have little there)",
                             ingest->queue.events, ingest->config->max_queue_events);
}

int ingest_submit(struct ingest *ingest, struct ingest_source *source,
                  struct ingest_request *request) {
  assert(request->count > 0);
  if (ingest->is_draining) {
    ingest->stats.refused[INGEST_REFUSED_STOPPING]++;
    return ERR_UNAVAILABLE;
  }
  int64_t now = now_us(ingest);
  rivals_note(&ingest->peers, request->peer, now);
  if (!queue_has_room(&ingest->queue, request, rivals_compete(&ingest->peers, now, COMPETES_US))) {
    ingest->stats.refused[INGEST_REFUSED_QUEUE_FULL] += !source;
    return ERR_EXHAUSTED;
  }
  request->source = source ? source : queue_source_new(&ingest->queue, true);
  request->failure = NULL;
  request->received_us = clock_wall_us(ingest->env.loop->clock);
  request->queued_us = now;
  request->expires_at_us = expires_at(ingest, request);
  queue_push(&ingest->queue, request);
  if (request->expires_at_us < ingest->expiry_at_us)
    ingest_set_expiry(ingest, request->expires_at_us);
  loop_defer(ingest->env.loop, &ingest->dispatch);
  return 0;
}
