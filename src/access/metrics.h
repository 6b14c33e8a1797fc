/*
 * metrics: who was turned away, and why, for Prometheus.
 */
#pragma once

#include "access/access.h"
#include "base/metrics.h"

extern const struct metric_table access_metric_table;

void access_metrics_write(struct metrics *metrics, const struct access *access);
