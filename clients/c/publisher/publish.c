/* The caller's side: events are taken, into memory or into the spool, or refused. */
#include "private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool publisher_wait(struct auditstore_publisher *p, int64_t deadline_us) {
  if (deadline_us == NEVER)
    return pthread_cond_wait(&p->news, &p->lock) == 0;
  struct timespec until = {.tv_sec = deadline_us / 1000000,
                           .tv_nsec = deadline_us % 1000000 * 1000};
  return pthread_cond_timedwait(&p->news, &p->lock, &until) != ETIMEDOUT;
}

/* When this publish gives up. The clock is read before the first thing that may take time. */
static int64_t deadline(const struct auditstore_publisher *p, int64_t *until_us) {
  if (*until_us == 0)
    *until_us = monotonic_us() + (int64_t)p->options.timeout_ms * 1000;
  return *until_us;
}

void publisher_wake(struct auditstore_publisher *p) {
  if (!p->is_idle)
    return;
  p->is_idle = false;
  pthread_cond_signal(&p->work);
}

/* ---- into memory ---- */

static bool memory_has_room(const struct auditstore_publisher *p, const struct packed *packed) {
  /* The records' own headers are larger than what batches add. */
  return p->counts.queue_events + packed->count <= p->options.max_queue_events &&
         p->counts.queue_bytes + packed->len <= p->options.max_queue_bytes;
}

/* The queue as it was, to go back to when memory is out half way. */
struct queue_mark {
  struct list_link *last;
  size_t count, body_end;
  uint64_t span;
};

static struct queue_mark mark_queue(const struct auditstore_publisher *p) {
  struct queue_mark mark = {.last = p->queue.last};
  if (mark.last) {
    const struct batch *b = LIST_ENTRY(mark.last, struct batch, link);
    mark.count = b->count;
    mark.body_end = b->body.end;
    mark.span = b->span;
  }
  return mark;
}

static void rewind_queue(struct auditstore_publisher *p, const struct queue_mark *mark) {
  while (p->queue.last != mark->last) {
    struct batch *b = LIST_ENTRY(p->queue.last, struct batch, link);
    list_remove(&p->queue, &b->link);
    batch_free(b);
  }
  if (!mark->last)
    return;
  struct batch *b = LIST_ENTRY(mark->last, struct batch, link);
  b->count = mark->count;
  b->body.end = mark->body_end;
  b->span = mark->span;
}

static bool add_to_queue(struct auditstore_publisher *p, const struct record *record) {
  struct batch *b = p->queue.last ? LIST_ENTRY(p->queue.last, struct batch, link) : NULL;
  if (!b || !batch_has_room(b, &p->limits, record->event_len)) {
    b = spares_take(&p->spares);
    if (!b)
      return false;
    list_push_back(&p->queue, &b->link);
  }
  return batch_add(b, record);
}

/* The records were just made here: they hold what record_begin() wrote. */
static enum auditstore_code take_in_memory(struct auditstore_publisher *p,
                                           const struct packed *packed,
                                           struct auditstore_status *status) {
  struct queue_mark mark = mark_queue(p);
  for (size_t at = 0; at < packed->len;) {
    struct record record;
    record_peek(packed->bytes + at, &record);
    if (!add_to_queue(p, &record)) {
      rewind_queue(p, &mark);
      status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
      return AUDITSTORE_RESOURCE_EXHAUSTED;
    }
    at += record_size(&record);
  }
  struct batch *tail = LIST_ENTRY(p->queue.last, struct batch, link);
  tail->held_events += packed->count;
  tail->held_bytes += packed->len;
  p->queue_waiting += packed->count;
  p->counts.queue_events += packed->count;
  p->counts.queue_bytes += packed->len;
  p->counts.taken += packed->count;
  publisher_wake(p);
  return AUDITSTORE_OK;
}

/* ---- into the spool ---- */

static enum auditstore_code take_in_spool(struct auditstore_publisher *p, struct packed *packed,
                                          int64_t deadline_us, struct auditstore_status *status) {
  bool was_behind = spool_is_behind(p->spool);
  enum auditstore_code code =
      spool_append(p->spool, packed->bytes, packed->len, packed->count, status);
  if (code != AUDITSTORE_OK)
    return code;
  if (!p->spool->is_unsynced)
    return durable_wait(p, deadline_us, status);
  if (!was_behind) {
    p->behind_since_us = monotonic_us();
    pthread_cond_signal(&p->work); /* also in a pause: there is something to sync in time */
  }
  p->counts.taken += packed->count;
  publisher_wake(p);
  return AUDITSTORE_OK;
}

/* ---- which, and when ---- */

enum destination { NOWHERE, MEMORY, SPOOL, SPOOL_AFTER_SYNC };

/* What waits in the spool is older than what comes now. */
static bool spool_is_drained(const struct auditstore_publisher *p) {
  return p->counts.taken - p->picked == p->queue_waiting && !spool_is_behind(p->spool);
}

/* Somebody may have moved the rejected events away. */
static bool spool_takes(struct auditstore_publisher *p, const struct packed *packed) {
  if (spool_has_room(p->spool, packed->len))
    return true;
  uint64_t before = p->spool->rejected_bytes;
  p->spool->rejected_bytes = before > 0 ? rejects_size(p->spool) : 0;
  return p->spool->rejected_bytes < before && spool_has_room(p->spool, packed->len);
}

static enum destination choose(struct auditstore_publisher *p, const struct packed *packed) {
  if (!p->spool || (p->spills && spool_is_drained(p))) {
    if (memory_has_room(p, packed))
      return MEMORY;
    if (!p->spool)
      return NOWHERE;
  }
  if (!spool_takes(p, packed))
    return NOWHERE;
  bool waits = spool_must_rotate(p->spool, packed->len) &&
               (p->spool->is_syncing || spool_is_behind(p->spool));
  return waits ? SPOOL_AFTER_SYNC : SPOOL;
}

static enum auditstore_code no_room(const struct auditstore_publisher *p,
                                    struct auditstore_status *status) {
  if (p->spool)
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "spool %s is full (spool_max_bytes)",
               p->spool->dir);
  else
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED,
               "the publisher's queue is full (max_queue_events, max_queue_bytes)");
  return AUDITSTORE_RESOURCE_EXHAUSTED;
}

static bool is_own_thread(const struct auditstore_publisher *p) {
  return pthread_equal(pthread_self(), p->thread) != 0;
}

static enum auditstore_code check_open(const struct auditstore_publisher *p,
                                       struct auditstore_status *status) {
  if (p->is_closed)
    status_set(status, AUDITSTORE_FAILED_PRECONDITION, "the publisher is closed");
  else if (p->failure != AUDITSTORE_OK)
    status_set(status, p->failure, "%s", p->failure_message);
  else
    return AUDITSTORE_OK;
  return status->code;
}

/* False: not in time. */
static bool wait_for_sync(struct auditstore_publisher *p, int64_t deadline_us) {
  if (p->spool->is_syncing)
    return publisher_wait(p, deadline_us);
  durable_sync(p);
  return true;
}

static enum auditstore_code take(struct auditstore_publisher *p, struct packed *packed,
                                 int64_t *until_us, struct auditstore_status *status) {
  bool may_wait = p->options.when_full == AUDITSTORE_FULL_BLOCK && !is_own_thread(p);
  for (;;) {
    if (check_open(p, status) != AUDITSTORE_OK)
      return status->code;
    switch (choose(p, packed)) {
    case MEMORY:
      return take_in_memory(p, packed, status);
    case SPOOL:
      return take_in_spool(p, packed, deadline(p, until_us), status);
    case SPOOL_AFTER_SYNC:
      if (!wait_for_sync(p, deadline(p, until_us)))
        return no_room(p, status);
      break;
    case NOWHERE:
      if (!may_wait || !publisher_wait(p, deadline(p, until_us)))
        return no_room(p, status);
    }
  }
}

/* ---- fail-closed without a spool: until the store has it ---- */

static enum auditstore_code settle(struct auditstore_publisher *p, size_t count,
                                   int64_t deadline_us, struct auditstore_status *status) {
  struct settle_waiter w = {.first = p->counts.taken - count, .behind = p->counts.taken};
  bool in_time = true;
  list_push_back(&p->settle_waiters, &w.link);
  while (p->settled < w.behind && in_time && !p->is_stopping)
    in_time = publisher_wait(p, deadline_us);
  list_remove(&p->settle_waiters, &w.link);
  if (w.code != AUDITSTORE_OK)
    status_set(status, w.code, "%s", w.message);
  else if (p->settled < w.behind)
    status_set(status, AUDITSTORE_DEADLINE_EXCEEDED,
               "the store hasn't acknowledged the event in time; it may still. The last it said: "
               "%s %s",
               auditstore_code_name(p->counts.last_code), p->counts.last_message);
  else
    return AUDITSTORE_OK;
  return status->code;
}

/* ---- refusals ---- */

static void tell_refused(const struct auditstore_publisher *p, const struct pack_input *input,
                         const struct auditstore_status *status) {
  for (size_t i = 0; i < input->count && p->options.on_result; i++) {
    struct uuid uuid;
    const char *id = input->events[i]->event_id;
    const struct auditstore_publish_result result = {
        .tag = input->tags ? input->tags[i] : 0,
        .event_id = id && uuid_parse(str_z(id), &uuid) ? id : "",
        .code = status->code,
        .message = status->message ? status->message : "",
    };
    p->options.on_result(p->options.on_result_arg, &result);
  }
}

static enum auditstore_code check_size(const struct auditstore_publisher *p,
                                       const struct packed *packed,
                                       struct auditstore_status *status) {
  if (packed->count > p->options.max_queue_events || packed->len > p->options.max_queue_bytes)
    status_set(status, AUDITSTORE_INVALID_ARGUMENT,
               "%zu events of %zu bytes are more than max_queue_events or max_queue_bytes",
               packed->count, packed->len);
  else if (p->spool && packed->len + SPOOL_HEADER_BYTES > p->options.spool_max_bytes)
    status_set(status, AUDITSTORE_INVALID_ARGUMENT, "%zu bytes are more than spool_max_bytes",
               packed->len);
  else if (p->options.mode == AUDITSTORE_PUBLISH_FAIL_CLOSED && is_own_thread(p))
    status_set(status, AUDITSTORE_FAILED_PRECONDITION,
               "in FAIL_CLOSED the callback can't publish: it would wait for itself");
  else
    return AUDITSTORE_OK;
  return status->code;
}

static enum auditstore_code publish_packed(struct auditstore_publisher *p, struct packed *packed,
                                           struct auditstore_status *status) {
  int64_t until_us = 0;
  enum auditstore_code code = take(p, packed, &until_us, status);
  /* What the disk didn't take in time may be taken yet. */
  if (code != AUDITSTORE_OK && code != AUDITSTORE_DEADLINE_EXCEEDED)
    p->counts.refused += packed->count;
  if (code == AUDITSTORE_OK && p->options.mode == AUDITSTORE_PUBLISH_FAIL_CLOSED && !p->spool)
    code = settle(p, packed->count, deadline(p, &until_us), status);
  return code;
}

static enum auditstore_code publish(struct auditstore_publisher *p, const struct pack_input *input,
                                    struct auditstore_status *status) {
  struct packed packed;
  enum auditstore_code code = packed_init(&packed, input, &p->ids, status);
  if (code == AUDITSTORE_OK)
    code = check_size(p, &packed, status);
  pthread_mutex_lock(&p->lock);
  if (code != AUDITSTORE_OK)
    p->counts.refused += input->count;
  else if (packed.count > 0)
    code = publish_packed(p, &packed, status);
  pthread_mutex_unlock(&p->lock);
  packed_deinit(&packed);
  return code;
}

enum auditstore_code auditstore_publisher_publish_all(
    struct auditstore_publisher *p, const Auditstore__V1__AuditEvent *const *events,
    const uint64_t *tags, size_t count, struct auditstore_status *status) {
  const struct pack_input input = {.events = events,
                                   .tags = tags,
                                   .count = count,
                                   .max_event_bytes = p->options.max_batch_bytes,
                                   .names_index = count > 1};
  struct auditstore_status own = {0};
  enum auditstore_code code = publish(p, &input, &own);
  if (code != AUDITSTORE_OK && p->options.mode == AUDITSTORE_PUBLISH_FAIL_OPEN) {
    tell_refused(p, &input, &own);
    auditstore_status_deinit(&own);
  }
  return status_move(&own, status);
}

enum auditstore_code auditstore_publisher_publish(struct auditstore_publisher *p,
                                                  const Auditstore__V1__AuditEvent *event,
                                                  uint64_t tag, struct auditstore_status *status) {
  return auditstore_publisher_publish_all(p, &event, &tag, 1, status);
}
