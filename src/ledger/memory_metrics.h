/*
 * memory_metrics: what operators see of a ledger_memory.
 */
#pragma once

#include "base/metrics.h"
#include "ledger/memory.h"

extern const struct metric_table ledger_memory_metric_table;

void ledger_memory_metrics_write(struct metrics *metrics, const struct ledger_memory *m);
