/*
 * unary: single events through WriteEvents, one call after the other; and beside it what PostgreSQL
 * takes for the same rows, one bare INSERT and its commit after the other.
 */
#pragma once

#include "bench/latencies.h"
#include "bench/workers.h"

struct unary_config {
  const char *server;   /* host:port */
  const char *conninfo; /* of PostgreSQL */
  const struct latencies *latencies;
};

/* Tasks for workers_run() with a struct unary_config: latencies->per_worker calls each. */
struct worker_task unary_task(const struct unary_config *config);
struct worker_task insert_task(const struct unary_config *config);
