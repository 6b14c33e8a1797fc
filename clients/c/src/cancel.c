#include "cancel.h"
#include "internal.h"

#include <stdlib.h>

struct auditstore_cancellation {
  pthread_mutex_t lock;
  bool is_cancelled;
  struct list calls;
};

static const char cancelled[] = "cancelled by the caller";

struct auditstore_cancellation *auditstore_cancellation_new(void) {
  struct auditstore_cancellation *x = calloc(1, sizeof(*x));
  if (x)
    pthread_mutex_init(&x->lock, NULL);
  return x;
}

void auditstore_cancellation_free(struct auditstore_cancellation *x) {
  if (!x)
    return;
  pthread_mutex_destroy(&x->lock);
  free(x);
}

void cancellation_join(struct auditstore_cancellation *x, struct auditstore_stream *s) {
  if (!x)
    return;
  pthread_mutex_lock(&x->lock);
  s->cancellable.cancellation = x;
  list_push_back(&x->calls, &s->cancellable.entry);
  if (x->is_cancelled) {
    s->is_ended = true;
    status_set(&s->status, AUDITSTORE_CANCELLED, "%s", cancelled);
  }
  pthread_mutex_unlock(&x->lock);
}

void cancellation_leave(struct auditstore_stream *s) {
  struct auditstore_cancellation *x = s->cancellable.cancellation;
  if (!x)
    return;
  pthread_mutex_lock(&x->lock);
  list_remove(&x->calls, &s->cancellable.entry);
  pthread_mutex_unlock(&x->lock);
  s->cancellable.cancellation = NULL;
}

void auditstore_cancellation_cancel(struct auditstore_cancellation *x) {
  pthread_mutex_lock(&x->lock);
  x->is_cancelled = true;
  for (struct list_link *at = x->calls.first; at; at = at->next) {
    struct auditstore_stream *s = LIST_ENTRY(at, struct auditstore_stream, cancellable.entry);
    struct auditstore_channel *c = s->channel;
    pthread_mutex_lock(&c->lock);
    call_abort(s, AUDITSTORE_CANCELLED, cancelled);
    channel_flush(c);
    pthread_mutex_unlock(&c->lock);
  }
  pthread_mutex_unlock(&x->lock);
}
