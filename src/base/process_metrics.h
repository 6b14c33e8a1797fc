/*
 * process_metrics: what the kernel knows of this process, by the names that Prometheus's client
 * libraries use.
 */
#pragma once

#include "base/metrics.h"

extern const struct metric_table process_metric_table;

/* `started_us`: wall clock. Numbers that the kernel doesn't tell are left out. */
void process_metrics_write(struct metrics *metrics, int64_t started_us);
