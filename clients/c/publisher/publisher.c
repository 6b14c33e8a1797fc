/* Options, start, flush, close, counters. */
#include "private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)
#define GIB ((uint64_t)MIB * KIB)

#define MAX_BATCH_EVENTS       10000
#define MIN_SPOOL_BYTES        ((uint64_t)128 * KIB)
#define SPOOL_BATCHES          4
#define FAIL_OPEN_UNSYNCED_MS  1000
#define MAX_INTERNAL_TRIES     5
#define UNBOUNDED_QUEUE_EVENTS ((size_t)UINT32_MAX)

/* ---- options ---- */

static void complete(struct auditstore_publisher_options *o) {
  bool is_open = o->mode == AUDITSTORE_PUBLISH_FAIL_OPEN;
  if (o->when_full == AUDITSTORE_FULL_DEFAULT)
    o->when_full = is_open ? AUDITSTORE_FULL_REFUSE : AUDITSTORE_FULL_BLOCK;
  o->timeout_ms = o->timeout_ms ? o->timeout_ms : 30000;
  o->max_queue_events = o->max_queue_events ? o->max_queue_events : 10000;
  o->max_queue_bytes = o->max_queue_bytes ? o->max_queue_bytes : 16 * MIB;
  o->max_batch_events = o->max_batch_events ? o->max_batch_events : 500;
  o->max_batch_bytes = o->max_batch_bytes ? o->max_batch_bytes : MIB;
  o->max_in_flight = o->max_in_flight ? o->max_in_flight : 8;
  o->answer_timeout_ms = o->answer_timeout_ms ? o->answer_timeout_ms : 60000;
  o->max_internal_tries = o->max_internal_tries ? o->max_internal_tries : MAX_INTERNAL_TRIES;
  o->spool_max_bytes = o->spool_max_bytes ? o->spool_max_bytes : GIB;
  if (is_open && o->spool_dir && o->spool_unsynced_ms == 0)
    o->spool_unsynced_ms = FAIL_OPEN_UNSYNCED_MS;
}

static const char *fault_of_numbers(const struct auditstore_publisher_options *o) {
  if (o->timeout_ms < 0)
    return "timeout_ms must be 0 or more";
  if (o->max_queue_events > UNBOUNDED_QUEUE_EVENTS)
    return "max_queue_events must be at most 4294967295";
  if (o->max_batch_events > MAX_BATCH_EVENTS)
    return "max_batch_events must be 1 to 10000";
  if (o->max_batch_bytes < KIB || o->max_batch_bytes > 64 * MIB)
    return "max_batch_bytes must be 1 KiB to 64 MiB";
  if (o->max_queue_bytes < o->max_batch_bytes)
    return "max_queue_bytes must be at least max_batch_bytes";
  if (o->max_in_flight < 1 || o->max_in_flight > 64)
    return "max_in_flight must be 1 to 64";
  if (o->answer_timeout_ms < 0)
    return "answer_timeout_ms must be 0 or more";
  if (o->spool_unsynced_ms < 0)
    return "spool_unsynced_ms must be 0 or more";
  if (o->spool_max_bytes < MIN_SPOOL_BYTES ||
      o->spool_max_bytes < SPOOL_BATCHES * (uint64_t)o->max_batch_bytes)
    return "spool_max_bytes must be at least 128 KiB and four times max_batch_bytes";
  return NULL;
}

static const char *fault_of(const struct auditstore_publisher_options *o) {
  bool is_open = o->mode == AUDITSTORE_PUBLISH_FAIL_OPEN;
  bool is_closed = o->mode == AUDITSTORE_PUBLISH_FAIL_CLOSED;
  bool spills = o->when_full == AUDITSTORE_FULL_SPILL;
  if (o->mode != AUDITSTORE_PUBLISH_QUEUED && !is_open && !is_closed)
    return "mode is none of enum auditstore_publish_mode";
  if ((int)o->when_full < 0 || o->when_full > AUDITSTORE_FULL_SPILL)
    return "when_full is none of enum auditstore_full_policy";
  if (o->spool_dir && !*o->spool_dir)
    return "spool_dir is empty";
  if (spills && !o->spool_dir)
    return "when_full SPILL needs spool_dir";
  if (spills && is_closed)
    return "when_full SPILL isn't safe: not in FAIL_CLOSED";
  if (is_open && o->when_full == AUDITSTORE_FULL_BLOCK)
    return "FAIL_OPEN never waits: when_full can't be BLOCK";
  if (is_closed && o->spool_unsynced_ms > 0)
    return "spool_unsynced_ms isn't safe: not in FAIL_CLOSED";
  return fault_of_numbers(o);
}

/* ---- start ---- */

static void init_locks(struct auditstore_publisher *p) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&p->lock, NULL);
  pthread_mutex_init(&p->ids.lock, NULL);
  pthread_cond_init(&p->work, &attributes);
  pthread_cond_init(&p->news, &attributes);
  pthread_condattr_destroy(&attributes);
}

static void dispose(struct auditstore_publisher *p) {
  struct list *lists[] = {&p->queue, &p->sender.flight};
  for (size_t i = 0; i < 2; i++) {
    struct list_link *link = NULL;
    while ((link = list_pop_front(lists[i])))
      batch_free(LIST_ENTRY(link, struct batch, link));
  }
  spares_deinit(&p->spares);
  if (p->spool) {
    spool_reader_deinit(&p->sender.reader);
    spool_free(p->spool);
  }
  auditstore_cancellation_free(p->sender.cancellation);
  pthread_cond_destroy(&p->news);
  pthread_cond_destroy(&p->work);
  pthread_mutex_destroy(&p->ids.lock);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static enum auditstore_code open_spool(struct auditstore_publisher *p,
                                       struct auditstore_status *status) {
  if (!p->options.spool_dir)
    return AUDITSTORE_OK;
  const struct spool_options options = {.dir = p->options.spool_dir,
                                        .max_bytes = p->options.spool_max_bytes,
                                        .is_unsynced = p->options.spool_unsynced_ms > 0};
  enum auditstore_code code = spool_open(&options, &p->spool, status);
  if (code != AUDITSTORE_OK)
    return code;
  p->spool->rejected_bytes = rejects_size(p->spool);
  p->counts.taken = p->counts.replayed = p->spool->replayed;
  spool_reader_init(&p->sender.reader, p->spool);
  return AUDITSTORE_OK;
}

static enum auditstore_code start_thread(struct auditstore_publisher *p,
                                         struct auditstore_status *status) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&p->thread, NULL, sender_run, p);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0)
    return AUDITSTORE_OK;
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "no thread for the publisher");
  return AUDITSTORE_RESOURCE_EXHAUSTED;
}

static enum auditstore_code start(struct auditstore_publisher *p,
                                  struct auditstore_status *status) {
  const char *fault = fault_of(&p->options);
  if (fault) {
    status_set(status, AUDITSTORE_INVALID_ARGUMENT, "publisher: %s", fault);
    return AUDITSTORE_INVALID_ARGUMENT;
  }
  p->spills = p->options.when_full == AUDITSTORE_FULL_SPILL;
  p->limits = (struct batch_limits){p->options.max_batch_events, p->options.max_batch_bytes};
  p->sender.window = 1;
  p->sender.cancellation = auditstore_cancellation_new();
  if (!p->sender.cancellation) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return AUDITSTORE_RESOURCE_EXHAUSTED;
  }
  enum auditstore_code code = open_spool(p, status);
  return code == AUDITSTORE_OK ? start_thread(p, status) : code;
}

struct auditstore_publisher *
auditstore_publisher_new(struct auditstore_channel *channel,
                         const struct auditstore_publisher_options *options,
                         struct auditstore_status *status) {
  struct auditstore_status own = {0};
  struct auditstore_publisher *p = calloc(1, sizeof(*p));
  if (p) {
    p->channel = channel;
    if (options)
      p->options = *options;
    complete(&p->options);
    init_locks(p);
  }
  if (!p) {
    status_set(&own, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  } else if (start(p, &own) != AUDITSTORE_OK) {
    dispose(p);
    p = NULL;
  } else {
    p->options.spool_dir = NULL; /* the caller's */
  }
  status_move(&own, status);
  return p;
}

/* ---- flush ---- */

static uint64_t unconfirmed(const struct auditstore_publisher *p) {
  return p->counts.taken - p->counts.acknowledged - p->counts.rejected;
}

static void flush(struct auditstore_publisher *p, int64_t deadline_us) {
  uint64_t goal = p->counts.taken;
  bool in_time = true;
  while (p->settled < goal && in_time && p->failure == AUDITSTORE_OK && !p->is_stopping)
    in_time = publisher_wait(p, deadline_us);
}

uint64_t auditstore_publisher_flush(struct auditstore_publisher *p, int timeout_ms) {
  pthread_mutex_lock(&p->lock);
  if (!pthread_equal(pthread_self(), p->thread))
    flush(p, timeout_to_deadline(timeout_ms));
  uint64_t left = unconfirmed(p);
  pthread_mutex_unlock(&p->lock);
  return left;
}

/* ---- close ---- */

static bool spool_event(struct auditstore_publisher *p, const struct batch *b,
                        const struct batch_event *e) {
  const struct record record = {.tag = e->tag, .taken_us = b->taken_us, .event_len = e->len};
  struct auditstore_status status = {0};
  size_t len = record_size(&record);
  uint8_t *bytes = spool_has_room(p->spool, len) ? malloc(len) : NULL;
  if (!bytes)
    return false;
  if (spool_must_rotate(p->spool, len))
    durable_sync(p);
  record_begin(bytes, &record);
  memcpy(bytes + RECORD_HEADER_BYTES, batch_event_bytes(b, e), e->len);
  bool ok = spool_append(p->spool, bytes, len, 1, &status) == AUDITSTORE_OK;
  auditstore_status_deinit(&status);
  free(bytes);
  return ok;
}

/* What is in memory alone goes to the spool, behind what is newer there. */
static void save(struct auditstore_publisher *p) {
  const struct list *lists[] = {&p->sender.flight, &p->queue};
  for (size_t i = 0; i < 2; i++) {
    for (struct list_link *at = lists[i]->first; at; at = at->next) {
      const struct batch *b = LIST_ENTRY(at, struct batch, link);
      for (size_t n = 0; b->place.segment == 0 && n < b->count; n++)
        if (!b->events[n].is_settled && !spool_event(p, b, &b->events[n]))
          return;
    }
  }
}

static void stop(struct auditstore_publisher *p) {
  p->is_stopping = true;
  pthread_cond_signal(&p->work);
  pthread_cond_broadcast(&p->news);
  pthread_mutex_unlock(&p->lock);
  auditstore_cancellation_cancel(p->sender.cancellation);
  pthread_join(p->thread, NULL);
  pthread_mutex_lock(&p->lock);
  if (!p->spool)
    return;
  /* By a thread that is still in publish, and what others there wait for. */
  while (p->spool->is_syncing)
    publisher_wait(p, NEVER);
  durable_sync(p);
  uint64_t taken = p->counts.taken;
  if (p->spills)
    save(p);
  durable_sync(p);
  p->counts.taken = taken; /* what was saved had been taken before */
}

uint64_t auditstore_publisher_close(struct auditstore_publisher *p, int timeout_ms) {
  pthread_mutex_lock(&p->lock);
  if (!p->is_closed) {
    p->is_closed = true;
    flush(p, timeout_to_deadline(timeout_ms));
    stop(p);
  }
  uint64_t left = unconfirmed(p);
  pthread_mutex_unlock(&p->lock);
  return left;
}

void auditstore_publisher_free(struct auditstore_publisher *p) {
  if (!p)
    return;
  auditstore_publisher_close(p, 0);
  dispose(p);
}

/* ---- counters ---- */

static int64_t oldest_us(const struct auditstore_publisher *p) {
  if (p->oldest_us > 0 || !p->queue.first)
    return p->oldest_us;
  return LIST_ENTRY(p->queue.first, struct batch, link)->taken_us;
}

void auditstore_publisher_get_counters(struct auditstore_publisher *p,
                                       struct auditstore_publisher_counters *ret) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  pthread_mutex_lock(&p->lock);
  *ret = p->counts;
  ret->unconfirmed = unconfirmed(p);
  int64_t since_us = oldest_us(p);
  if (since_us > 0)
    ret->oldest_unconfirmed_ms =
        ((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - since_us) / 1000;
  if (p->spool) {
    p->spool->rejected_bytes = rejects_size(p->spool); /* somebody may have moved it away */
    ret->spool_bytes = p->spool->bytes + p->spool->rejected_bytes;
    ret->spool_segments = p->spool->segments.count;
    ret->spool_syncs = p->spool->syncs;
    ret->spool_sync_failures = p->spool->sync_failures;
    ret->spool_cut_bytes = p->spool->cut_bytes;
  }
  pthread_mutex_unlock(&p->lock);
}
