/*
 * ingest: takes batches of events from callers, writes them through lanes, answers each caller.
 *
 * Words: request = the events of one call or one stream message, never split over two
 * transactions; source = where requests come from in an order that must be kept (a stream; each
 * unary call is one of its own); lane = a writer with a ledger of its own that has one batch in
 * flight.
 *
 * Natural batching: a free lane takes what is queued, fairly split among free lanes, up to
 * max_batch_events and max_batch_bytes; there is no timer, so an idle system adds no delay. A
 * source keeps to one lane while it has events in flight, so its order is its ledger's order. While
 * several connections write, none has all lanes.
 * Loop thread only.
 */
#pragma once

#include "base/list.h"
#include "base/loop.h"
#include "base/must_check.h"
#include "config/config.h"
#include "grpc/status.h"
#include "ingest/stats.h"
#include "ledger/checkpoint.h"
#include "ledger/event.h"
#include "ledger/memory.h"
#include "ledger/partitions.h"
#include "pg/pool.h"

struct ingest;
struct ingest_source;
struct ingest_request;

/* What became of one event. */
struct ingest_result {
  struct grpc_status *status; /* NULL: stored. Owned by the request */
  int64_t ledger_id;
  int64_t sequence;
  int64_t committed_us; /* wall clock; for a duplicate that of its first write */
  bool is_duplicate;
};

/* Embedded or in an arena; must live until on_done. The caller fills the first block. */
struct ingest_request {
  const struct event *events;    /* validated and normalised; borrowed until on_done */
  struct ingest_result *results; /* `count` of them, zeroed; filled before on_done */
  int count;                     /* 1 .. max_request_events */
  struct str principal; /* whose events they are; borrowed until on_done; len 0: nobody's */
  uint64_t peer;        /* the number of the connection they came by; 0: none */
  bool is_atomic;       /* one refused event refuses all */
  bool wants_proof;
  struct proofs *proofs; /* NULL; set before on_done for events written now. The caller frees it */
  size_t size_bytes;     /* for the queue's account */
  int64_t deadline_us;   /* monotonic; CLOCK_NEVER: write_timeout from now. Not started after it */
  /* Exactly once, from the loop. `failure` is NULL when results[] hold the outcome of each event;
   * else nothing of the request was stored for sure (or, for DEADLINE_EXCEEDED and UNAVAILABLE, it
   * is not known) and it is the answer; the callee takes it. */
  void (*on_done)(struct ingest_request *request, struct grpc_status *failure);
  void *arg;

  /* ingest's own */
  struct list_link link;       /* its source's requests, then its batch's answers */
  struct list_link queue_link; /* all queued requests */
  struct ingest_source *source;
  struct grpc_status *failure; /* owned until on_done */
  int64_t received_us;         /* wall clock */
  int64_t queued_us;           /* monotonic */
  int64_t expires_at_us;       /* a little before deadline_us, so that the answer is in time */
};

/* What it points to must outlive it. */
struct ingest_options {
  struct pg_pool *pool;
  struct partitions *partitions;
  const struct config_ingest *config;
  const struct config_ledger *ledger;
  const struct checkpoint_signer *signer; /* its keys may change between two turns of the loop */
  struct ledger_memory *memory;           /* told of each commit, asked at each claim */
};
struct ingest *ingest_new(struct loop *loop, const struct ingest_options *options);

/* Takes no more requests, writes what is queued until deadline_us, then answers the rest
 * UNAVAILABLE, then runs `done` (may be NULL), never inside this call. Once. */
void ingest_drain(struct ingest *ingest, int64_t deadline_us, loop_task_cb *done, void *arg);

/* After drain is done. NULL is fine. */
void ingest_free(struct ingest *ingest);

/* A source for one stream. Free it when it has no request left; that may be in the on_done of its
 * last one. */
struct ingest_source *ingest_source_new(struct ingest *ingest);
void ingest_source_free(struct ingest_source *source);

/* Queues a request; source NULL: one of its own. ERR_EXHAUSTED: the queue is full (nothing is
 * queued, on_done doesn't run). ERR_UNAVAILABLE: draining. */
MUST_CHECK int ingest_submit(struct ingest *ingest, struct ingest_source *source,
                             struct ingest_request *request);

/* What the caller is told when ingest_submit() has just returned `code`. */
struct grpc_status *ingest_refusal(const struct ingest *ingest, enum error_code code);

/* Runs `cb` once the queue has fallen below half of its bounds, where ingest_submit() takes
 * requests again. `waiter` is embedded by its owner, zeroed at first. */
struct ingest_waiter {
  struct list_link link;
  loop_task_cb *cb;
  void *arg;
  bool is_waiting;
};
void ingest_wait_writable(struct ingest *ingest, struct ingest_waiter *waiter);
void ingest_cancel_wait(struct ingest *ingest, struct ingest_waiter *waiter);

/* One consistent snapshot. */
void ingest_stats(const struct ingest *ingest, struct ingest_stats *ret_stats);
