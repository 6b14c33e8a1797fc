/*
 * batch: the requests a lane is writing, and what is known of each of their events. No I/O, no
 * callbacks.
 *
 * Words: open request = one of the batch without an answer yet; open event = one of an open request
 * that is neither stored nor refused; group = the first few open requests, which are written
 * together; items = the open events of the group; twins = events with the same id and time; repeat
 * = an open event that isn't written but decided by its twin in an earlier request.
 *
 * An event's result says where it stands: a status: refused; ledger_id: stored; is_duplicate
 * without ledger_id: it repeats an earlier event of its own request, whose index stands in
 * `sequence`, and shares its fate.
 */
#pragma once

#include "ingest/ingest.h"
#include "ledger/append.h"

struct batch_slot {
  int request; /* index in requests[] */
  int index;   /* of the event within it */
};

/* An open event that an earlier request of the batch has a twin of. */
struct batch_repeat {
  struct batch_slot slot;
  struct batch_slot original; /* what it repeats: the first of its twins */
  bool is_same;               /* in content */
};

/* Items that are twins of each other. */
struct batch_run {
  int first;    /* the run's first item, which has the rest of this */
  int original; /* which of them, as items are counted afterwards; -1: none yet */
};

struct batch {
  struct ingest_request **requests; /* owned array; NULL once answered */
  int request_count;
  int request_cap;
  int open_count;
  int event_count;
  int64_t size_bytes;
  uint64_t peer;                /* who has more than half of the events; 0: nobody */
  int64_t moved_us;             /* monotonic: when the lane got it, or last got on with it */
  struct append_item *items;    /* owned; the group's open events, in order */
  struct batch_slot *slots;     /* owned; items[i] is the event slots[i] */
  int *order;                   /* owned; items by id and time */
  struct batch_repeat *repeats; /* owned; decided by what becomes of the items */
  int repeat_count;
  struct batch_run *runs; /* owned; of each item, while repeats are looked for */
  int item_count;
  int item_cap;
  int group_count;     /* open requests in the group */
  struct list settled; /* struct ingest_request.link: to be answered */
};

void batch_deinit(struct batch *b); /* a zeroed batch is fine */

/* Forgets the requests, which must all be answered, and keeps the memory. */
void batch_clear(struct batch *b);

void batch_add(struct batch *b, struct ingest_request *request);

/* When all requests are added. */
void batch_find_peer(struct batch *b);

/* How much a group may hold. */
struct batch_bounds {
  int max_requests;
  int max_items;       /* INT_MAX, or of a group of one request: its first ones */
  bool leaves_repeats; /* those are no items, nor is what a request holds that one will refuse */
};
extern const struct batch_bounds batch_all;

/* Makes the group of the first open requests, and its items. */
void batch_gather(struct batch *b, const struct batch_bounds *bounds);

/* The group's items were written from first->sequence on; what repeats them in any request is a
 * duplicate, or a conflict. */
struct batch_place {
  int64_t ledger_id;
  int64_t sequence;
  int64_t committed_us;
};
void batch_mark_written(struct batch *b, const struct batch_place *first);

/* The same items, of requests that want it, get proofs from the seal they were written with; those
 * of a request that was written in several parts, of the first. */
void batch_attach_proofs(struct batch *b, const struct seal *seal);

/* An item was found stored. `ledger_id` is the one the lane wrote to last: what is found there with
 * the very time of arrival comes from a write of ours whose answer was lost, and is no duplicate.
 */
void batch_mark_match(struct batch *b, const struct append_match *match, int64_t ledger_id);

/* Decides about open items that repeat an earlier one of the same request. */
void batch_mark_twins(struct batch *b);

/* Moves requests whose events are all decided, or that are atomic and have a refused one, to
 * `settled`. Returns how many. */
int batch_settle_decided(struct batch *b);

/* Moves one open request to `settled`. Takes `failure`, which is that of its open events alone when
 * some of a request that isn't atomic are stored already. */
void batch_settle(struct batch *b, int index, struct grpc_status *failure);

/* When the first and the last open request expire. */
int64_t batch_first_expiry(const struct batch *b);
int64_t batch_last_expiry(const struct batch *b);
