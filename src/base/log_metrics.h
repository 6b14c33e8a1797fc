/*
 * log_metrics: what became of the lines of the log.
 */
#pragma once

#include "base/metrics.h"

struct log_sampler;

extern const struct metric_table log_metric_table;

void log_metrics_write(struct metrics *metrics, const struct log_sampler *sampler);
