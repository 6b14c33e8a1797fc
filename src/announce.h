/*
 * announce: what the log says of the settings. From the struct that the parts themselves read.
 */
#pragma once

#include "base/log.h"
#include "config/config.h"
#include "pg/pool.h"

/* One event for each line of `problems`. */
void announce_problems(enum log_level level, const char *event, const char *problems);

/* "db pool ready": every setting of the database with its source, and what the server allows; then
 * warnings about what doesn't fit together. */
void announce_pool(const struct config *config, const struct pg_pool_stats *stats,
                   int schema_version);

/* "queries": the settings of queries with their sources, as they are in effect. */
void announce_queries(const struct config *config);
