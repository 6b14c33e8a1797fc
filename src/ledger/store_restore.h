/*
 * store_restore: ends what a restored database goes on with, so that nothing is continued under a
 * name that was used for more than the database has.
 *
 * What was acknowledged after the backup was made is lost to the database, but not to those who
 * have receipts: the ledgers' names and places are taken. So every ledger is closed as it stands,
 * and the next epoch begins, whose ledger ids were never given out.
 */
#pragma once

#include "ledger/memory.h"
#include "ledger/store_row.h"

struct store_restored {
  int32_t old_epoch;
  int32_t epoch;
  int64_t closed; /* ledgers that were open until now */
};

/* `restored` is NULL on failure, and `err` says why. */
typedef void store_restore_cb(void *arg, const struct store_restored *restored,
                              const struct error *err);

/* In one transaction: closes all ledgers and begins an epoch above that of the row and of
 * `last_id`, the largest ledger id ever seen. ERR_FAILED_PRECONDITION when somebody may be
 * appending (a lease isn't over): nothing is changed, and the text says what to do. `cb` runs
 * exactly once, never inside this call. */
void store_restore(struct pg_pool *pool, int64_t last_id, int64_t deadline_us, store_restore_cb *cb,
                   void *arg);

/* `known` are all ledgers as the database has them, by ascending ids; the callee frees it. `err`
 * not NULL: it failed. */
typedef void store_heads_cb(void *arg, struct ledger_known *known, int count,
                            const struct error *err);

/* Reads every ledger's head: the last batch that ends within its size. `cb` runs exactly once,
 * never inside this call. */
void store_heads_read(struct pg_pool *pool, int64_t deadline_us, store_heads_cb *cb, void *arg);
