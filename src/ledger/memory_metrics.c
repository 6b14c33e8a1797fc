#include "ledger/memory_metrics.h"

enum { LEDGERS, FAILURES, UNWRITTEN };

static const struct metric_family families[] = {
    [LEDGERS] = {"auditstore_ledger_memory_ledgers", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "Ledgers whose committed size and root this daemon knows."},
    [FAILURES] = {"auditstore_ledger_memory_write_failures_total", METRIC_COUNTER, METRIC_NUMBER,
                  NULL, "Writes of ledger.memory_file that failed."},
    [UNWRITTEN] = {"auditstore_ledger_memory_unwritten_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                   "How long something has waited to be written to ledger.memory_file: how far the "
                   "file is behind. 0: all is in it, or there is none."},
};

const struct metric_table ledger_memory_metric_table = {"The memory of ledgers", families,
                                                        sizeof(families) / sizeof(families[0])};

void ledger_memory_metrics_write(struct metrics *metrics, const struct ledger_memory *m) {
  struct ledger_memory_stats stats;
  ledger_memory_stats(m, &stats);
  metrics_add(metrics, &families[LEDGERS], stats.ledgers);
  metrics_add(metrics, &families[FAILURES], stats.failures);
  metrics_add(metrics, &families[UNWRITTEN], stats.unwritten_us);
}
