/*
 * pool_metrics: the pool's part of /metrics, and the same numbers by the names that Go services
 * give to theirs, so that dashboards made for those go on working.
 */
#pragma once

#include "base/metrics.h"
#include "pg/pool.h"

extern const struct metric_table pg_pool_metric_table;
extern const struct metric_table pg_go_sql_metric_table;

/* `config` is the pool's. */
void pg_pool_metrics_write(struct metrics *metrics, const struct pg_pool *pool,
                           const struct config_database *config);
