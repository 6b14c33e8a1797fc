#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id) {
  struct timespec ts;
  clock_gettime(id, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t system_monotonic_us(const struct clock *clock) {
  (void)clock;
  return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall_us(const struct clock *clock) {
  (void)clock;
  return read_clock(CLOCK_REALTIME);
}

const struct clock clock_system = {
    .monotonic_us = system_monotonic_us,
    .wall_us = system_wall_us,
};

int deadline_remaining_ms(const struct clock *clock, int64_t deadline_us) {
  int64_t left = deadline_us - clock_monotonic_us(clock);
  if (left <= 0)
    return 0;
  int64_t ms = left / 1000 + (left % 1000 != 0);
  return ms > INT32_MAX ? INT32_MAX : (int)ms;
}
