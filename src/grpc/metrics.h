/*
 * metrics: the gRPC server's part of /metrics.
 */
#pragma once

#include "base/metrics.h"
#include "grpc/server.h"

extern const struct metric_table grpc_metric_table;

void grpc_metrics_write(struct metrics *metrics, const struct grpc_server *server);
