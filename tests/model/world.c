#include "model/world.h"

#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALM_US = 100, SHORT_US = 2000, LONG_US = 150000 };

/* libpq's functions get no argument that leads to the world of the first dial. */
static struct world *current;

struct world *world_current(void) {
  return current;
}

static int64_t now(const struct clock *clock) {
  return ((const struct world *)(const void *)clock)->now_us;
}

void world_enter(struct world *world, uint64_t seed) {
  bool is_verbose = world->is_verbose;
  memset(world, 0, sizeof(*world));
  world->is_verbose = is_verbose;
  world->clock = (struct clock){.monotonic_us = now, .wall_us = now};
  world->loop = (struct loop){.clock = &world->clock, .turn = 1};
  world->seed = seed;
  world->random = seed * 0x9E3779B97F4A7C15ULL + 1;
  world->now_us = CLOCK_US_PER_S;
  world->next_fd = 3;
  current = world;
}

void world_leave(struct world *world) {
  server_sweep(world, true);
  must(world->lines.count == 0, "%zu connections were never finished", world->lines.count);
  must(world->watches.count == 0, "%zu watches were never closed", world->watches.count);
  must(world->lookups.count == 0, "%zu look-ups were never answered", world->lookups.count);
  must(world->loop.armed.count == 0, "a timer is still armed");
  must(world->results == 0, "%d results were never cleared", world->results);
  current = NULL;
}

/* ---- chance ---- */

static uint64_t draw(struct world *world) {
  world->random ^= world->random >> 12;
  world->random ^= world->random << 25;
  world->random ^= world->random >> 27;
  return world->random * 0x2545F4914F6CDD1DULL;
}

int64_t world_pick(struct world *world, int64_t below) {
  return (int64_t)((draw(world) >> 1) % (uint64_t)below);
}

bool world_chance(struct world *world, int one_in) {
  return world_pick(world, one_in) == 0;
}

int64_t world_latency(struct world *world) {
  if (world->server.is_calm)
    return 1 + world_pick(world, CALM_US);
  return 1 + world_pick(world, world_chance(world, 16) ? LONG_US : SHORT_US);
}

/* In place of base/random.c. */
int64_t random_below(int64_t below_us) {
  struct world *world = current;
  if (below_us <= 0)
    return 0;
  int64_t drawn = world_pick(world, below_us);
  world->share = (double)drawn / (double)below_us;
  return drawn;
}

/* ---- what it says ---- */

static void say(const struct world *world, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void say(const struct world *world, const char *format, va_list args) {
  printf("seed %llu, step %d, %.6f s: ", (unsigned long long)world->seed, world->step,
         (double)world->now_us / CLOCK_US_PER_S);
  vprintf(format, args);
  putchar('\n');
  fflush(stdout);
}

void must(bool holds, const char *format, ...) {
  if (holds)
    return;
  va_list args;
  va_start(args, format);
  say(current, format, args);
  va_end(args);
  abort();
}

void trace(const struct world *world, const char *format, ...) {
  if (!world->is_verbose)
    return;
  va_list args;
  va_start(args, format);
  say(world, format, args);
  va_end(args);
}
