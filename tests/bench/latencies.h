/*
 * latencies: how long each call of some processes took, in memory that they share.
 */
#pragma once

#include <stdint.h>

struct latencies {
  uint32_t *us; /* `per_worker` places for each worker */
  int workers;
  int per_worker;
};

/* Before the processes are forked. Returns 0, or -1 after printing why. */
int latencies_init(struct latencies *latencies, int workers, int per_worker);
void latencies_deinit(struct latencies *latencies);

void latencies_set(const struct latencies *latencies, int worker, int index, int64_t us);

/* Sorts them: `share` 0.5 is the median. */
uint32_t latencies_at(struct latencies *latencies, double share);
