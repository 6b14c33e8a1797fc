/*
 * stats: what ingest counts of its work, by transaction or by request, never by event.
 */
#pragma once

#include <stdint.h>

#include "base/histogram.h"

/* clang-format off */
#define INGEST_BATCH_RESULTS(X)                                                                    \
  X(COMMITTED, "committed")                                                                         \
  X(REFUSED,   "refused")  /* by PostgreSQL: an event stored before, a bad row, no partition */     \
  X(ALTERED,   "altered")  /* what would have been stored wasn't what was sent; rolled back */       \
  X(STALE,     "stale")    /* another writer had advanced the ledger */                             \
  X(LOST,      "lost")     /* no answer: it may have been committed */

#define INGEST_REFUSALS(X)                                                                         \
  X(QUEUE_FULL, "queue_full")                                                                       \
  X(EXPIRED,    "expired")   /* its time was up before a lane took it */                            \
  X(STOPPING,   "stopping")  /* the daemon drains */
/* clang-format on */

#define INGEST_ENUM_BATCH(name, text)   INGEST_BATCH_##name,
#define INGEST_ENUM_REFUSAL(name, text) INGEST_REFUSED_##name,
enum ingest_batch_result { INGEST_BATCH_RESULTS(INGEST_ENUM_BATCH) INGEST_BATCH_RESULT_COUNT };
enum ingest_refusal { INGEST_REFUSALS(INGEST_ENUM_REFUSAL) INGEST_REFUSAL_COUNT };
#undef INGEST_ENUM_BATCH
#undef INGEST_ENUM_REFUSAL

struct ingest_stats {
  int queue_events; /* that wait for a lane */
  int64_t queue_bytes;
  int64_t batches[INGEST_BATCH_RESULT_COUNT]; /* write transactions, by how they ended */
  int64_t retries;     /* pauses of a lane after trouble, before the batch is tried again */
  int64_t followed;    /* batches taken behind one that was still being written */
  int64_t bisections;  /* batches halved to find the request that PostgreSQL refuses */
  int64_t claims;      /* ledgers claimed */
  int64_t suspects;    /* ledgers found not to fit together, not to be as known, or gone */
  int64_t unreadable;  /* answers of PostgreSQL about our tables that have another shape */
  int64_t clock_held;  /* batches that got the time of the one before, as the clock was behind it */
  int foreign_objects; /* on our tables, as last seen */
  int64_t refused[INGEST_REFUSAL_COUNT]; /* requests of which nothing was stored. A stream that
                                            finds the queue full waits instead */
  struct histogram commit_us;            /* from sending a write to knowing it committed */
  struct histogram queue_us;             /* from a request's arrival to a lane taking it */
  struct histogram batch_events;         /* events in a committed transaction */
};
