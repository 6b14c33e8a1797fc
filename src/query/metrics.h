/*
 * metrics: the numbers of the queries, for the metrics page.
 */
#pragma once

#include "base/metrics.h"
#include "query/service.h"

extern const struct metric_table query_metric_table;

void query_metrics_write(struct metrics *metrics, const struct query_service *service);
