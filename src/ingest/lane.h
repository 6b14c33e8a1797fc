/*
 * lane: a writer that appends one batch at a time to a ledger that it has claimed, or behind the
 * batch that another lane is writing, to that one's ledger.
 *
 * For each batch it borrows a connection, writes, gives the connection back, then answers. What
 * gets in the way (a lost connection, a duplicate, a missing partition, a refused row) is dealt
 * with inside the batch, until each request is answered or its time is up.
 */
#pragma once

#include "ingest/batch.h"
#include "ingest/ingest.h"

/* What all lanes share; must outlive them. */
struct lane_env {
  struct loop *loop;
  struct pg_pool *pool;
  struct partitions *partitions;
  struct ingest_stats *stats;
  const struct config_ingest *config;
  const struct config_ledger *ledger;
  const struct checkpoint_signer *signer; /* its key may change from one batch to the next */
  struct ledger_memory *memory;
  struct surroundings *surroundings; /* what stands on the tables, as last seen by any lane */
  /* A request of the batch is answered: take its failure and pass the answer on. */
  void (*answer)(void *arg, struct ingest_request *request);
  /* The lane has become idle, or may be followed. */
  void (*on_change)(void *arg);
  void *arg;
};

struct lane;

struct lane *lane_new(const struct lane_env *env);

/* Gives its ledger back if that can be done soon; `closed` runs when its memory is gone. Only while
 * idle. */
void lane_close(struct lane *lane, loop_task_cb *closed, void *arg);

bool lane_is_idle(const struct lane *lane);

/* The batch to fill before lane_start(); empty while the lane is idle. */
struct batch *lane_batch(struct lane *lane);
void lane_start(struct lane *lane);

/* Whether what this lane is writing is all of its batch and will be the end of its ledger, so that
 * another batch can be sent behind it. */
bool lane_may_be_followed(const struct lane *lane);

/* As lane_start(), on the ledger of `leader`, which may be followed. No event of the batch is
 * stored before the leader's are; when the leader fails, the batch waits until that one has ended.
 */
void lane_start_behind(struct lane *lane, struct lane *leader);

/* Answers what is open and stops as soon as it can, which is at once unless a partition is being
 * made. */
void lane_abort(struct lane *lane);
