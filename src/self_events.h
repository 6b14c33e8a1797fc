/*
 * self_events: what the daemon records about itself as audit events, by the same way as
 * everybody's.
 *
 * Their principal is "auditstore:self", which no caller can have. At most SELF_EVENTS_MAX are under
 * way; what comes on top, and what can't be stored, is lost and counted by who sent it.
 */
#pragma once

#include "access/access.h"
#include "ingest/ingest.h"

#define SELF_EVENTS_MAX 64

struct self_events;

struct self_events *self_events_new(const struct loop *loop);

/* From now on events can be stored, and `access` hears of its own. */
void self_events_begin(struct self_events *self, struct ingest *ingest, struct access *access);

/* When ingest is drained. NULL is fine. */
void self_events_free(struct self_events *self);

/* A restore of the database. Texts are borrowed for the call. */
struct self_restored {
  const char *origin;
  struct str data; /* of restored_event_append() */
  /* `err` NULL: it is committed. Runs exactly once, from the loop or inside the call that asks. */
  void (*done)(void *arg, const struct error *err);
  void *arg;
};
void self_events_record_restored(struct self_events *self, const struct self_restored *restored);

/* A denial_record_cb: `arg` is the struct self_events. */
bool self_events_record_denial(void *arg, const struct denial *denial);
