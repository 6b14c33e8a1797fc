/*
 * pool_writers: processes that send bursts of requests over socket pairs, wait for the answers, and
 * think before the next burst.
 */
#pragma once

#include <stdint.h>

enum { WRITERS = 12, BURST = 8, THINK_MS = 20, WARM_UP_SECONDS = 1, LATENCIES_MAX = 200000 };

/* One request, and its answer: what was sent comes back. */
struct pool_message {
  int64_t sent_us;
};

/* In memory shared with the writers. */
struct pool_latencies {
  int count;
  uint32_t us[LATENCIES_MAX / WRITERS]; /* from sending a request to its answer */
};

struct pool_writers {
  int fds[WRITERS]; /* the answering side's ends */
  int pids[WRITERS];
  struct pool_latencies *latencies; /* WRITERS of them */
};

/* Forks them; they write for WARM_UP_SECONDS, whose latencies don't count, and for `seconds`, then
 * close their ends. 0 or -1. */
int pool_writers_start(struct pool_writers *writers, int seconds);

/* Waits for their ends and closes the rest. The latencies stay. 0, or -1 when one failed. */
int pool_writers_finish(struct pool_writers *writers);

void pool_writers_free(struct pool_writers *writers);
