/*
 * batch: events as they go into one request: the wire form of its `events`, and who they are.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "spool.h"

struct batch_event {
  uint64_t tag;
  uint32_t start; /* of the packed event, in the body */
  uint32_t len;
  uint32_t nth; /* its number is the batch's first_number + nth */
  int failures; /* how often the store failed at it, alone */
  bool is_settled;
  bool is_answered; /* the answer that is being taken says something of it */
};

struct batch {
  struct list_link link;
  uint64_t first_number;      /* publishers number events in the order of sending */
  uint64_t span;              /* how many numbers it stands for; some may be settled and gone */
  struct batch_event *events; /* owned */
  size_t count, cap;
  struct buf body;          /* field 2 of a StreamEventsRequest, repeated */
  int64_t taken_us;         /* when its first event was taken, by the wall clock */
  bool is_spooled;          /* with it, all up to `place` is settled */
  struct spool_place place; /* in the spool, behind its last event; segment 0: in memory alone */
  size_t held_events, held_bytes; /* of the queue's limits, given back when it is done */

  uint64_t id; /* of the request; 0: not sent */
  bool was_sent;
  int64_t sent_us; /* monotonic */
  bool is_done;
  int exhausted; /* streams in a row that ended as RESOURCE_EXHAUSTED while it was alone on them */
};

struct batch_limits {
  size_t events;
  size_t bytes;
};

/* NULL: out of memory. */
struct batch *batch_new(void);
void batch_free(struct batch *b);

/* Whether it takes one more event of so many bytes. An empty one takes any. */
bool batch_has_room(const struct batch *b, const struct batch_limits *limits, size_t event_len);

/* False: out of memory; nothing changed. */
bool batch_add(struct batch *b, const struct record *record);

static inline const uint8_t *batch_event_bytes(const struct batch *b, const struct batch_event *e) {
  return buf_bytes(&b->body) + e->start;
}

/* Moves the second half of its events (2 or more) to a new one, to be put behind it. NULL: out of
 * memory. */
struct batch *batch_split(struct batch *b);

/* Keeps only what isn't settled. False: out of memory; nothing changed. */
bool batch_compact(struct batch *b);

/* A few are kept with their memory, which would else be given back to the system and asked for
 * again with each one. */
void spares_put(struct list *spares, struct batch *b);
struct batch *spares_take(struct list *spares); /* NULL: out of memory */
void spares_deinit(struct list *spares);
