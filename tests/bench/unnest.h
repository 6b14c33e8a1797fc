/*
 * unnest: a yardstick: the sample events inserted from arrays, as the daemon does it, pipelined, a
 * transaction for each batch, nothing else.
 */
#pragma once

#include "bench/workers.h"

struct unnest_config {
  const char *conninfo;
  int events_per_worker; /* a multiple of batch_events */
  int batch_events;
};

/* A task for workers_run() with a struct unnest_config. */
struct worker_task unnest_task(const struct unnest_config *config);
