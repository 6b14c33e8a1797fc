/*
 * new_months: the months of a request that have no partition yet, and how many may be made for it.
 *
 * Making one takes PostgreSQL some 60 ms, in which its lane waits, and each is there for good: so a
 * request has a bound of its own (ingest.max_new_months), and all together have one
 * (storage.max_partitions). Months that are kept ready don't count.
 */
#pragma once

#include "grpc/status.h"
#include "ledger/months.h"
#include "ledger/partitions.h"

/* Zeroed before first use. */
struct new_months {
  struct month_set months; /* of the request that is looked at */
  int count;
};

void new_months_begin(struct new_months *new_months);

/* NULL: events of that time may be written. Otherwise what the caller is told of event `index`,
 * which is the caller's of this. */
struct grpc_status *new_months_admit(struct new_months *new_months, struct partitions *p, int max,
                                     int64_t time_us, int index);
