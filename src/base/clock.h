/*
 * clock: the one source of time, injected so that tests can move it.
 *
 * Monotonic time serves deadlines and durations; wall time only stamps. Both in microseconds; wall
 * time since 1970-01-01T00:00:00Z. A deadline is a monotonic time; CLOCK_NEVER is none.
 */
#pragma once

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

#define CLOCK_US_PER_MS 1000LL
#define CLOCK_US_PER_S  1000000LL

struct clock {
  int64_t (*monotonic_us)(const struct clock *clock);
  int64_t (*wall_us)(const struct clock *clock);
};

/* The machine's clocks. */
extern const struct clock clock_system;

static inline int64_t clock_monotonic_us(const struct clock *clock) {
  return clock->monotonic_us(clock);
}
static inline int64_t clock_wall_us(const struct clock *clock) {
  return clock->wall_us(clock);
}

/* The earlier of two deadlines. */
static inline int64_t deadline_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* A span of CLOCK_NEVER ends never. */
static inline int64_t deadline_after(int64_t start_us, int64_t span_us) {
  return span_us > CLOCK_NEVER - start_us ? CLOCK_NEVER : start_us + span_us;
}

/* Milliseconds, rounded up, from now to the deadline; 0 when it passed; at most INT32_MAX. */
int deadline_remaining_ms(const struct clock *clock, int64_t deadline_us);
