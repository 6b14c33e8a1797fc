/*
 * store_row: the one row of the table `store`: what this store is called, and which epoch it is in.
 *
 * The origin is set once, by the first daemon of a new database, and stays: a ledger that changed
 * its name would look like another one's. An epoch ends with a restore from a backup; the ids of
 * the ledgers of epoch E are from E * STORE_EPOCH_IDS + 1 on.
 */
#pragma once

#include "base/uuid.h"
#include "ledger/checkpoint.h"
#include "pg/pool.h"

#define STORE_EPOCH_IDS 1000000

struct store_row {
  struct uuid store_id;
  char origin[CHECKPOINT_ORIGIN_MAX + 1];
  int32_t epoch;
  int64_t next_ledger_id; /* as it was: others may have taken it since */
};

/* `row` is NULL on failure, and `err` says why. */
typedef void store_row_cb(void *arg, const struct store_row *row, const struct error *err);

/* Reads the row. One without an origin, of a new database, gets `origin`, or when that is empty
 * "auditstore/" and the first 16 hex digits of its id. ERR_INVALID_ARGUMENT: the row has another
 * origin than `origin`, and nothing was changed; the text has both names and the remedy. `cb` runs
 * exactly once, never inside this call. */
void store_row_read(struct pg_pool *pool, const char *origin, int64_t deadline_us, store_row_cb *cb,
                    void *arg);
