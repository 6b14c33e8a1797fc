#include "ingest/metrics.h"

enum {
  QUEUE_EVENTS,
  QUEUE_BYTES,
  BATCHES,
  RETRIES,
  FOLLOWED,
  BISECTIONS,
  CLAIMS,
  SUSPECTS,
  UNREADABLE,
  CLOCK_HELD,
  FOREIGN_OBJECTS,
  REFUSED,
  COMMIT_SECONDS,
  QUEUE_SECONDS,
  BATCH_EVENTS,
};

static const struct metric_family families[] = {
    [QUEUE_EVENTS] = {"auditstore_ingest_queue_events", METRIC_GAUGE, METRIC_NUMBER, NULL,
                      "Events that wait to be written."},
    [QUEUE_BYTES] = {"auditstore_ingest_queue_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                     "Their size."},
    [BATCHES] =
        {"auditstore_ingest_batches_total", METRIC_COUNTER, METRIC_NUMBER, "result",
         "Write transactions: committed; refused by PostgreSQL (an event stored before, a "
         "bad row); altered, what would have been stored wasn't what was sent, and was rolled "
         "back; stale, the ledger wasn't as expected: another writer had taken it, or the "
         "batch before failed; lost, no answer came."},
    [RETRIES] = {"auditstore_ingest_batch_retries_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                 "Pauses after trouble before a batch is tried again."},
    [FOLLOWED] =
        {"auditstore_ingest_batches_followed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Batches that a second lane took behind one that was still being written, because "
         "the same streams had more."},
    [BISECTIONS] = {"auditstore_ingest_batch_bisections_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                    "Batches halved to find the request that PostgreSQL refuses."},
    [CLAIMS] =
        {"auditstore_ledger_claims_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Ledgers claimed: one for each lane, and one more whenever another daemon took it."},
    [SUSPECTS] =
        {"auditstore_ledger_suspects_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Ledgers whose rows didn't fit together when they were claimed, were not what this daemon "
         "had committed, or were gone; nothing is appended to them."},
    [UNREADABLE] = {"auditstore_ledger_unreadable_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                    "Answers of PostgreSQL about the ledgers that have another shape than its "
                    "tables promise."},
    [CLOCK_HELD] = {"auditstore_ledger_clock_held_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                    "Batches that were recorded with the time of the one before, because the "
                    "daemon's clock was behind it."},
    [FOREIGN_OBJECTS] =
        {"auditstore_store_foreign_objects", METRIC_GAUGE, METRIC_NUMBER, NULL,
         "Triggers, rules, policies, columns and the like on the store's tables that aren't its "
         "own, as last seen when a ledger was claimed."},
    [REFUSED] = {"auditstore_ingest_refused_total", METRIC_COUNTER, METRIC_NUMBER, "why",
                 "Requests turned away before a batch took them: queue_full, expired, stopping."},
    [COMMIT_SECONDS] = {"auditstore_ingest_commit_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL,
                        "From sending a batch to knowing that it is committed."},
    [QUEUE_SECONDS] = {"auditstore_ingest_queue_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL,
                       "From a request's arrival to a batch taking it."},
    [BATCH_EVENTS] = {"auditstore_ingest_batch_events", METRIC_HISTOGRAM, METRIC_NUMBER, NULL,
                      "Events in a committed batch."},
};

const struct metric_table ingest_metric_table = {"Ingest", families,
                                                 sizeof(families) / sizeof(families[0])};

#define NAME_TEXT(name, text) text,
static const char *const batch_results[] = {INGEST_BATCH_RESULTS(NAME_TEXT)};
static const char *const refusals[] = {INGEST_REFUSALS(NAME_TEXT)};
#undef NAME_TEXT

void ingest_metrics_write(struct metrics *metrics, const struct ingest *ingest) {
  struct ingest_stats stats;
  ingest_stats(ingest, &stats);
  metrics_add(metrics, &families[QUEUE_EVENTS], stats.queue_events);
  metrics_add(metrics, &families[QUEUE_BYTES], stats.queue_bytes);
  for (int i = 0; i < INGEST_BATCH_RESULT_COUNT; i++)
    metrics_add_labelled(metrics, &families[BATCHES], batch_results[i], stats.batches[i]);
  metrics_add(metrics, &families[RETRIES], stats.retries);
  metrics_add(metrics, &families[FOLLOWED], stats.followed);
  metrics_add(metrics, &families[BISECTIONS], stats.bisections);
  metrics_add(metrics, &families[CLAIMS], stats.claims);
  metrics_add(metrics, &families[SUSPECTS], stats.suspects);
  metrics_add(metrics, &families[UNREADABLE], stats.unreadable);
  metrics_add(metrics, &families[CLOCK_HELD], stats.clock_held);
  metrics_add(metrics, &families[FOREIGN_OBJECTS], stats.foreign_objects);
  for (int i = 0; i < INGEST_REFUSAL_COUNT; i++)
    metrics_add_labelled(metrics, &families[REFUSED], refusals[i], stats.refused[i]);
  metrics_add_histogram(metrics, &families[COMMIT_SECONDS], &stats.commit_us);
  metrics_add_histogram(metrics, &families[QUEUE_SECONDS], &stats.queue_us);
  metrics_add_histogram(metrics, &families[BATCH_EVENTS], &stats.batch_events);
}
