/*
 * server_clock_metrics: the clocks' part of /metrics.
 */
#pragma once

#include "base/metrics.h"
#include "pg/server_clock.h"

extern const struct metric_table server_clock_metric_table;

void server_clock_metrics_write(struct metrics *metrics, const struct server_clock *clock);
