/*
 * memory_check: whether a database still has what is known to be committed.
 *
 * It has when each known ledger is there, is no smaller, and had the known root at the known size:
 * every size that was ever committed is the end of a batch, whose row has the root.
 */
#pragma once

#include "ledger/memory.h"
#include "pg/pool.h"

/* `err` NULL: all is there. ERR_FAILED_PRECONDITION: something isn't; the text names the first such
 * ledger, what was committed of it and what there is, and how many more there are. */
typedef void memory_check_cb(void *arg, const struct error *err);

/* Asks with one statement. What `memory` knows is taken before this returns. `cb` runs exactly
 * once, never inside this call. */
void memory_check(struct pg_pool *pool, const struct ledger_memory *memory, int64_t deadline_us,
                  memory_check_cb *cb, void *arg);
