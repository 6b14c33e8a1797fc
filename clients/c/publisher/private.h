/*
 * private: the publisher's own structure, and what its parts offer one another.
 *
 *   publish.c   the caller's side: takes events, into memory or into the spool; waits
 *   durable.c   threads that wait for the disk: one syncs for all
 *   sender.c    the publisher's thread: takes batches, keeps a stream, sends, resends
 *   answers.c   the same thread: what the store says, event by event
 *   publisher.c options, start, flush, close, counters
 *
 * Events are numbered from 0 in the order of sending, which is the order of being taken.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "batch.h"
#include "internal.h"
#include "pack.h"
#include "rejects.h"
#include "spool_reader.h"

#include <pthread.h>

/* A thread in publish that waits for what becomes of its events; on its stack. Lock. */
struct settle_waiter {
  struct list_link link;
  uint64_t first, behind; /* numbers: [first, behind) */
  enum auditstore_code code;
  char message[160];
};

/* One that waits for the disk. Lock. */
struct sync_waiter {
  struct list_link link;
  uint64_t end; /* in the current segment */
  bool is_over, is_safe;
};

/* The publisher's thread only. */
struct sender {
  struct list flight; /* batches in order: sent, or to be sent next */
  int in_flight;      /* of them sent and not answered */
  int window;         /* how many may be; 1 after trouble, until an answer comes */
  struct auditstore_v1_audit_store_stream_events_stream *stream;
  struct auditstore_cancellation *cancellation; /* owned; of all its streams */
  bool has_answered;                            /* this stream did */
  bool had_stream;
  int64_t hold_until_us; /* nothing is sent before */
  int64_t pause_us;      /* of the last hold without advice */
  uint64_t next_id;      /* of requests */
  uint64_t trouble_id;   /* of the last request before the last trouble */
  uint64_t isolating; /* one batch at a time until all numbers below are answered: the store failed
                         at a batch, and which of its events is at fault isn't known */
  int given_up;       /* events since the store took one, counted up to some: it had failed at them
                         too often */
  int64_t give_up_us; /* monotonic: not before is another one given up */
  struct spool_reader reader;
};

struct auditstore_publisher {
  struct auditstore_channel *channel;          /* borrowed */
  struct auditstore_publisher_options options; /* complete; its texts are gone */
  bool spills;                                 /* the spool is for what memory has no room for */
  struct id_maker ids;
  pthread_t thread;
  struct sender sender;

  pthread_mutex_t lock; /* for all below */
  pthread_cond_t work;  /* for the publisher's thread; monotonic clock, as is news */
  pthread_cond_t news;  /* for all others: room, settled, synced, over */
  bool is_idle;         /* the thread waits for events */
  bool is_closed;       /* takes nothing more */
  bool is_stopping;     /* the thread shall end */
  bool is_joined;
  struct batch_limits limits; /* of batches to come */
  struct list spares;         /* batches to be filled again */
  struct list queue;          /* batches in memory, not taken by the sender */
  struct spool *spool;        /* NULL: none */
  int64_t behind_since_us;    /* unsynced: when the first event behind the disk was written */
  uint64_t queue_waiting;     /* events in it */
  uint64_t picked;            /* events that the sender took, from there or from the spool */
  uint64_t settled;           /* numbers below it are */
  int64_t oldest_us;          /* when the oldest in flight was taken, by the wall clock; 0: none */
  struct list settle_waiters, sync_waiters;
  enum auditstore_code failure; /* the spool can't be read: for ever */
  char failure_message[160];
  struct auditstore_publisher_counters counts; /* those that only grow, and the queue's */
};

/* ---- publish.c ---- */

/* With the lock held. Waits for news; false: the deadline passed. */
bool publisher_wait(struct auditstore_publisher *p, int64_t deadline_us);

/* With the lock held: there may be something to send. */
void publisher_wake(struct auditstore_publisher *p);

/* ---- durable.c; with the lock held, which is released meanwhile ---- */

/* Syncs for all who wait, unless somebody does. */
void durable_sync(struct auditstore_publisher *p);

/* Waits until what was appended up to now is on disk. */
enum auditstore_code durable_wait(struct auditstore_publisher *p, int64_t deadline_us,
                                  struct auditstore_status *status);

/* When the publisher's thread shall sync; NEVER: nothing waits for that. */
int64_t durable_due_us(const struct auditstore_publisher *p);

/* ---- sender.c ---- */

void *sender_run(void *publisher);

/* Nothing is sent for `delay_ms`, or, when that is negative, for a pause that grows; and then one
 * batch at a time until the store answers. Notes why. */
void sender_hold(struct auditstore_publisher *p, int64_t delay_ms, enum auditstore_code code,
                 const char *message);

/* The same after the store failed at an event alone, so many times now (0: at a batch, which is
 * halved): the pause doubles with each. Advice of the store (-1: none) that is longer is
 * followed. */
void sender_hold_failed(struct auditstore_publisher *p, int failures, int64_t advice_ms,
                        enum auditstore_code code, const char *message);

/* Takes the batch as not sent. */
void sender_take_back(struct auditstore_publisher *p, struct batch *batch);

/* Puts the second half of a batch that is too large behind the first. False: it is a single event,
 * or out of memory. */
bool sender_halve(struct auditstore_publisher *p, struct batch *batch);

/* ---- answers.c ---- */

/* Borrowed. */
struct failure {
  enum auditstore_code code;
  const char *message; /* may be NULL */
  int64_t advice_ms;   /* of RetryInfo; -1: none */
};

/* False: the store's answer makes no sense. */
bool answer_take(struct auditstore_publisher *p,
                 const Auditstore__V1__StreamEventsResponse *answer);

/* The store failed at the batch: it is halved. Of a single event it is counted, and once too often
 * is for good. */
void answer_failed(struct auditstore_publisher *p, struct batch *batch,
                   const struct failure *failure);

/* The store will never take the only event of this batch. */
void answer_reject_only(struct auditstore_publisher *p, struct batch *batch,
                        enum auditstore_code code, const char *message);
