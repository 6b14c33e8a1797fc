/*
 * copy: the yardstick: binary COPY of the sample events into audit_events, nothing else.
 */
#pragma once

#include "bench/workers.h"

struct copy_config {
  const char *conninfo;
  int events_per_worker;
};

/* A task for workers_run() with a struct copy_config. */
struct worker_task copy_task(const struct copy_config *config);
