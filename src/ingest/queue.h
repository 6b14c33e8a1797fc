/*
 * queue: the requests that wait for a lane, by source. No I/O, no clock, no callbacks.
 *
 * States of a source:
 *
 *   IDLE ──push──▶ READY ──taken──▶ BOUND ──last answer──▶ IDLE, or READY when more is queued
 *
 * READY sources stand in a list and are served in turn, one request each. A BOUND one has requests
 * in a lane's batch; what it has queued behind them waits, because another lane might overtake,
 * unless that lane takes it for a batch that is sent behind the first.
 */
#pragma once

#include "ingest/batch.h"
#include "ingest/ingest.h"

enum source_state { SOURCE_IDLE, SOURCE_READY, SOURCE_BOUND };

struct ingest_source {
  struct list_link link; /* in queue->ready while READY */
  struct list requests;  /* queued, oldest first */
  struct queue *queue;   /* borrowed */
  enum source_state state;
  int in_flight;    /* taken and not yet answered */
  bool is_listed;   /* in queue_take_behind() */
  bool is_one_shot; /* made for one request; ends with it */
};

/* Peers beyond so many share with others. */
#define QUEUE_STAKES 1024

/* What one peer has queued. */
struct queue_stake {
  int events;
  int64_t bytes;
};

struct queue {
  const struct config_ingest *config; /* borrowed */
  struct list ready;                  /* struct ingest_source.link */
  struct list requests;               /* struct ingest_request.queue_link: all that are queued */
  int events;
  int64_t bytes;
  struct queue_stake stakes[QUEUE_STAKES]; /* by the peer's number; [0]: nobody's */
  int source_count;
};

void queue_init(struct queue *q, const struct config_ingest *config);

/* Asserts that no source is left. */
void queue_deinit(struct queue *q);

struct ingest_source *queue_source_new(struct queue *q, bool is_one_shot);
void queue_source_free(struct ingest_source *source);

/* An empty queue has room for any request, so that none is too large for ever. While several peers
 * write, the last eighth is for those who have little in it. */
bool queue_has_room(const struct queue *q, const struct ingest_request *request, bool is_contested);

/* Below half of both bounds. */
bool queue_is_low(const struct queue *q);

/* request->source is set. */
void queue_push(struct queue *q, struct ingest_request *request);

/* For whom a batch is to be taken. */
struct queue_pick {
  int free_lanes;  /* with this one: each takes its share of what is queued */
  uint64_t except; /* the peer whose requests stay; 0: nobody's do */
};

/* Moves whole requests from the ready sources to the empty `batch`: this lane's share of what is
 * queued, within the configured bounds, at least one request when any source is ready. False: there
 * is none but of `except`. */
bool queue_take(struct queue *q, const struct queue_pick *pick, struct batch *batch);

/* Moves to the empty `batch`, within the configured bounds, what sources of the open requests in
 * `front` have queued behind these. False: that is too little to be worth it. */
bool queue_take_behind(struct queue *q, const struct batch *front, struct batch *batch);

/* Takes out the requests whose expires_at_us has come and returns them in *ret_expired, linked by
 * `link`. Returns when the next one expires, CLOCK_NEVER when none is left. */
int64_t queue_expire(struct queue *q, int64_t now_us, struct list *ret_expired);

/* A request that left the queue, by take or expire, is about to be answered: its source is free of
 * it. Must precede the answer. */
void queue_release(struct ingest_request *request);
