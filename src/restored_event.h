/*
 * restored_event: the data of the event that records a restore: what was known to be committed
 * against what the database has.
 */
#pragma once

#include "base/buf.h"
#include "ledger/store_restore.h"

#define RESTORED_EVENT_MAX_BYTES ((size_t)64 * 1024)

/* Heads of all ledgers, by ascending ids. All is borrowed. */
struct restored_heads {
  const struct ledger_known *remembered, *found;
  int remembered_count, found_count;
};

/* How many remembered ledgers are missing, smaller, or have another root at the same size. */
int restored_event_count_behind(const struct restored_heads *heads);

/* Appends a JSON object: the epochs, how many ledgers were closed, remembered and found, and of
 * those that are behind the first hundred, each with its remembered size and root and its found
 * size. `out` must hold RESTORED_EVENT_MAX_BYTES more. */
void restored_event_append(struct buf *out, const struct store_restored *restored,
                           const struct restored_heads *heads);
