/* Threads that wait for the spool's disk: one of them syncs for all. */
#include "private.h"

/* Tells each whose events the sync covered, or all after an error: their segment is given up. */
static void tell_waiters(struct auditstore_publisher *p, const struct spool_sync *sync, bool ok) {
  struct list_link *next = NULL;
  for (struct list_link *at = p->sync_waiters.first; at; at = next) {
    struct sync_waiter *w = LIST_ENTRY(at, struct sync_waiter, link);
    next = at->next;
    if (ok && w->end > sync->end)
      continue;
    list_remove(&p->sync_waiters, at);
    w->is_over = true;
    w->is_safe = ok;
  }
}

void durable_sync(struct auditstore_publisher *p) {
  struct spool_sync sync;
  if (p->spool->is_syncing)
    return;
  spool_sync_begin(p->spool, &sync);
  if (sync.fd < 0)
    return;
  int64_t began_us = monotonic_us();
  pthread_mutex_unlock(&p->lock);
  int error = spool_sync_run(&sync);
  pthread_mutex_lock(&p->lock);
  bool ok = spool_sync_end(p->spool, &sync, error);
  p->behind_since_us = began_us;
  if (ok && !p->spool->is_unsynced)
    p->counts.taken += sync.events;
  tell_waiters(p, &sync, ok);
  publisher_wake(p);
  pthread_cond_broadcast(&p->news);
}

enum auditstore_code durable_wait(struct auditstore_publisher *p, int64_t deadline_us,
                                  struct auditstore_status *status) {
  struct sync_waiter w = {.end =
                              LIST_ENTRY(p->spool->segments.last, struct spool_segment, link)->end};
  bool in_time = true;
  list_push_back(&p->sync_waiters, &w.link);
  while (!w.is_over && in_time) {
    if (p->spool->is_syncing)
      in_time = publisher_wait(p, deadline_us);
    else
      durable_sync(p);
  }
  if (!w.is_over)
    list_remove(&p->sync_waiters, &w.link);
  if (w.is_safe)
    return AUDITSTORE_OK;
  if (w.is_over)
    status_set(status, AUDITSTORE_UNAVAILABLE,
               "spool %s: fsync failed; the event isn't safe and wasn't taken", p->spool->dir);
  else
    status_set(status, AUDITSTORE_DEADLINE_EXCEEDED,
               "spool %s: the disk didn't take the event in time; it may still", p->spool->dir);
  return status->code;
}

int64_t durable_due_us(const struct auditstore_publisher *p) {
  if (!p->spool || !p->spool->is_unsynced || !spool_is_behind(p->spool))
    return NEVER;
  return p->behind_since_us + (int64_t)p->options.spool_unsynced_ms * 1000;
}
