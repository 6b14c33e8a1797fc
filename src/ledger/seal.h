/*
 * seal: what a ledger records of one batch, computed before the batch is sent: the hash of each
 * event in its place, the root behind them, the time, and the signed checkpoint.
 */
#pragma once

#include "ledger/claim.h"
#include "ledger/event.h"

struct append_item {
  const struct event *event;
  int64_t received_us;
  struct str principal; /* of its writer; len 0: absent */
};

/* Reusable memory: one batch at a time. A zeroed seal is empty. */
struct seal {
  struct merkle_hasher *hasher; /* owned */
  struct merkle_growth growth;  /* before and behind the batch */
  struct merkle_hash root;
  int64_t committed_us;
  struct buf note;   /* the checkpoint; empty: there was no key */
  struct buf packed; /* one event's bytes */
};

void seal_init(struct seal *seal);
void seal_deinit(struct seal *seal);

/* items[i] gets the sequence claim->edge.size + i. */
struct seal_batch {
  const struct append_item *items;
  int count;
  int64_t committed_us; /* the wall clock now */
};
void seal_make(struct seal *seal, const struct claim *claim, const struct seal_batch *batch);

/* Adds the checkpoint of a made seal, if there is a key. */
void seal_sign(struct seal *seal, int64_t ledger_id, const struct checkpoint_signer *signer);
