/*
 * metrics: ingest's part of /metrics.
 */
#pragma once

#include "base/metrics.h"
#include "ingest/ingest.h"

extern const struct metric_table ingest_metric_table;

void ingest_metrics_write(struct metrics *metrics, const struct ingest *ingest);
