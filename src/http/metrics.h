/*
 * metrics: the numbers of the operators' port, for its own metrics page.
 */
#pragma once

#include "base/metrics.h"
#include "http/server.h"

extern const struct metric_table http_metric_table;

void http_metrics_write(struct metrics *metrics, const struct http_server *server);
