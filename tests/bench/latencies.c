#include "bench/latencies.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static size_t size_of(const struct latencies *latencies) {
  return (size_t)latencies->workers * (size_t)latencies->per_worker * sizeof(*latencies->us);
}

int latencies_init(struct latencies *latencies, int workers, int per_worker) {
  latencies->workers = workers;
  latencies->per_worker = per_worker;
  void *shared =
      mmap(NULL, size_of(latencies), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("bench: mmap");
    return -1;
  }
  latencies->us = shared;
  return 0;
}

void latencies_deinit(struct latencies *latencies) {
  munmap(latencies->us, size_of(latencies));
}

void latencies_set(const struct latencies *latencies, int worker, int index, int64_t us) {
  latencies->us[(size_t)worker * (size_t)latencies->per_worker + (size_t)index] = (uint32_t)us;
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a;
  uint32_t y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

uint32_t latencies_at(struct latencies *latencies, double share) {
  size_t count = (size_t)latencies->workers * (size_t)latencies->per_worker;
  qsort(latencies->us, count, sizeof(*latencies->us), compare);
  size_t index = (size_t)(share * (double)count);
  return latencies->us[index < count ? index : count - 1];
}
