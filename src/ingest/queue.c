#include "ingest/queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"

/* Of each bound, what a peer may take of the last eighth. */
#define LITTLE_SHARE 64

void queue_init(struct queue *q, const struct config_ingest *config) {
  *q = (struct queue){.config = config};
}

void queue_deinit(struct queue *q) {
  assert(q->source_count == 0 && q->requests.count == 0);
  (void)q;
}

/* ---- sources ---- */

struct ingest_source *queue_source_new(struct queue *q, bool is_one_shot) {
  struct ingest_source *source = xcalloc(1, sizeof(*source));
  source->queue = q;
  source->is_one_shot = is_one_shot;
  q->source_count++;
  return source;
}

void queue_source_free(struct ingest_source *source) {
  if (!source)
    return;
  assert(source->state == SOURCE_IDLE && source->in_flight == 0 && source->requests.count == 0);
  source->queue->source_count--;
  free(source);
}

/* The one place where a source's state changes: it follows from what the source has. */
static void source_update(struct ingest_source *source) {
  enum source_state state = SOURCE_IDLE;
  if (source->in_flight > 0)
    state = SOURCE_BOUND;
  else if (source->requests.count > 0)
    state = SOURCE_READY;
  if (state == source->state)
    return;
  if (source->state == SOURCE_READY)
    list_remove(&source->queue->ready, &source->link);
  if (state == SOURCE_READY)
    list_push_back(&source->queue->ready, &source->link);
  source->state = state;
}

/* ---- in ---- */

/* The place of the peer's stake. */
static size_t stake_of(const struct ingest_request *request) {
  return request->peer ? 1 + request->peer % (QUEUE_STAKES - 1) : 0;
}

static void queue_count(struct queue *q, const struct ingest_request *request, int sign) {
  struct queue_stake *stake = &q->stakes[stake_of(request)];
  int events = sign * request->count;
  int64_t bytes = sign * (int64_t)request->size_bytes;
  q->events += events;
  q->bytes += bytes;
  stake->events += events;
  stake->bytes += bytes;
}

/* A queue too short to be shared out is nobody's in particular. */
static bool fits(int64_t queued, int64_t own, int64_t limit, bool is_contested) {
  int64_t little = limit / LITTLE_SHARE;
  if (is_contested && little > 0 && own > little && queued > limit / 8 * 7)
    return false;
  return queued <= limit;
}

bool queue_has_room(const struct queue *q, const struct ingest_request *request,
                    bool is_contested) {
  const struct queue_stake *stake = &q->stakes[stake_of(request)];
  int64_t bytes = (int64_t)request->size_bytes;
  if (q->requests.count == 0)
    return true;
  return fits(q->events + request->count, stake->events + request->count,
              q->config->max_queue_events, is_contested) &&
         fits(q->bytes + bytes, stake->bytes + bytes, q->config->max_queue_bytes, is_contested);
}

bool queue_is_low(const struct queue *q) {
  return q->events <= q->config->max_queue_events / 2 && q->bytes <= q->config->max_queue_bytes / 2;
}

void queue_push(struct queue *q, struct ingest_request *request) {
  list_push_back(&request->source->requests, &request->link);
  list_push_back(&q->requests, &request->queue_link);
  queue_count(q, request, 1);
  source_update(request->source);
}

/* ---- out ---- */

static void queue_remove(struct queue *q, struct ingest_request *request) {
  list_remove(&request->source->requests, &request->link);
  list_remove(&q->requests, &request->queue_link);
  queue_count(q, request, -1);
}

static int queue_share(const struct queue *q, int free_lanes) {
  int share = (q->events + free_lanes - 1) / free_lanes;
  if (share < q->config->min_split_events)
    share = q->config->min_split_events;
  return share < q->config->max_batch_events ? share : q->config->max_batch_events;
}

static bool batch_has_room(const struct queue *q, const struct batch *batch,
                           const struct ingest_request *request) {
  if (batch->request_count == 0)
    return true;
  return batch->event_count + request->count <= q->config->max_batch_events &&
         batch->size_bytes + (int64_t)request->size_bytes <= q->config->max_batch_bytes;
}

/* The sources that this batch may take from: the others stay for the other free lanes, which could
 * do nothing if one lane had all of them. */
static size_t queue_source_share(const struct queue *q, int free_lanes) {
  size_t lanes = (size_t)free_lanes;
  return (q->ready.count + lanes - 1) / lanes;
}

static struct ingest_request *first_of(const struct ingest_source *source) {
  return LIST_ENTRY(source->requests.first, struct ingest_request, link);
}

/* Takes one request of the first source in turn. False: the batch has no room for it. */
static bool queue_take_one(struct queue *q, struct list *turn, struct batch *batch) {
  struct ingest_source *source = LIST_ENTRY(turn->first, struct ingest_source, link);
  struct ingest_request *request = first_of(source);
  if (!batch_has_room(q, batch, request))
    return false;
  queue_remove(q, request);
  batch_add(batch, request);
  list_remove(turn, &source->link);
  if (source->requests.count > 0)
    list_push_back(turn, &source->link);
  else
    source->state = SOURCE_IDLE;
  return true;
}

/* One more source for a batch that would be too small to be worth a transaction of its own. False:
 * it isn't, or there is none. */
static bool queue_add_source(struct queue *q, struct list *turn, const struct batch *batch) {
  if (turn->first || !q->ready.first || batch->event_count >= q->config->min_split_events)
    return false;
  list_push_back(turn, list_pop_front(&q->ready));
  return true;
}

static void bind_sources(const struct batch *batch) {
  for (int i = 0; i < batch->request_count; i++) {
    batch->requests[i]->source->in_flight++;
    source_update(batch->requests[i]->source);
  }
}

/* Those whose next request is of `peer`, in their order; 0: none. */
static void set_aside(struct queue *q, uint64_t peer, struct list *ret_aside) {
  for (size_t left = q->ready.count; peer != 0 && left > 0; left--) {
    struct list_link *link = list_pop_front(&q->ready);
    struct ingest_source *source = LIST_ENTRY(link, struct ingest_source, link);
    list_push_back(first_of(source)->peer == peer ? ret_aside : &q->ready, link);
  }
}

/* While a batch is made up its sources take turns, so that each may give several requests; they are
 * bound only when it is complete. */
bool queue_take(struct queue *q, const struct queue_pick *pick, struct batch *batch) {
  int share = queue_share(q, pick->free_lanes);
  struct list aside = {0};
  struct list turn = {0};
  set_aside(q, pick->except, &aside);
  for (size_t left = queue_source_share(q, pick->free_lanes); left > 0; left--)
    list_push_back(&turn, list_pop_front(&q->ready));
  do {
    while (turn.first && batch->event_count < share && queue_take_one(q, &turn, batch))
      ;
  } while (queue_add_source(q, &turn, batch));
  while (turn.first)
    list_push_back(&q->ready, list_pop_front(&turn));
  while (aside.first)
    list_push_back(&q->ready, list_pop_front(&aside));
  bind_sources(batch);
  return batch->request_count > 0;
}

static int queued_events(const struct ingest_source *source) {
  int events = 0;
  for (struct list_link *link = source->requests.first; link; link = link->next)
    events += LIST_ENTRY(link, struct ingest_request, link)->count;
  return events;
}

/* Returns how many events the listed sources have queued. */
static int list_sources(const struct batch *front, struct list *turn) {
  int events = 0;
  for (int i = 0; i < front->request_count; i++) {
    struct ingest_source *source = front->requests[i] ? front->requests[i]->source : NULL;
    if (!source || source->is_listed || !source->requests.first)
      continue;
    source->is_listed = true;
    list_push_back(turn, &source->link);
    events += queued_events(source);
  }
  return events;
}

static void unlist_sources(const struct batch *front, struct list *turn) {
  while (list_pop_front(turn))
    ;
  for (int i = 0; i < front->request_count; i++) {
    if (front->requests[i])
      front->requests[i]->source->is_listed = false;
  }
}

bool queue_take_behind(struct queue *q, const struct batch *front, struct batch *batch) {
  struct list turn = {0};
  if (q->events < q->config->min_split_events)
    return false;
  if (list_sources(front, &turn) >= q->config->min_split_events) {
    while (turn.first && queue_take_one(q, &turn, batch))
      ;
  }
  unlist_sources(front, &turn);
  bind_sources(batch);
  return batch->request_count > 0;
}

int64_t queue_expire(struct queue *q, int64_t now_us, struct list *ret_expired) {
  int64_t next_us = CLOCK_NEVER;
  struct list_link *next = NULL;
  for (struct list_link *link = q->requests.first; link; link = next) {
    next = link->next;
    struct ingest_request *request = LIST_ENTRY(link, struct ingest_request, queue_link);
    if (request->expires_at_us > now_us) {
      next_us = deadline_min(next_us, request->expires_at_us);
      continue;
    }
    queue_remove(q, request);
    list_push_back(ret_expired, &request->link);
    request->source->in_flight++;
    source_update(request->source);
  }
  return next_us;
}

void queue_release(struct ingest_request *request) {
  struct ingest_source *source = request->source;
  assert(source->in_flight > 0);
  source->in_flight--;
  request->source = NULL;
  source_update(source);
  if (source->is_one_shot)
    queue_source_free(source);
}
