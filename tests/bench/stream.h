/*
 * stream: the sample events through StreamEvents, by generated C stubs.
 */
#pragma once

#include "bench/workers.h"

struct stream_config {
  const char *server; /* host:port */
  int events_per_worker;
  int batch_events;
  int batches_in_flight;
};

/* A task for workers_run() with a struct stream_config. */
struct worker_task stream_task(const struct stream_config *config);
