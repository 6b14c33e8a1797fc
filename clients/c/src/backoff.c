#include "backoff.h"

#include <sys/random.h>
#include <time.h>

#define INITIAL_MS     1000
#define MAX_MS         120000
#define MULTIPLIER     1.6
#define JITTER_PERCENT 20.0

bool backoff_init(struct backoff *b, const struct auditstore_backoff_options *o) {
  if (o->initial_ms < 0 || o->max_ms < 0 || !(o->jitter_percent >= 0 && o->jitter_percent <= 100) ||
      !(o->multiplier == 0 || (o->multiplier >= 1 && o->multiplier <= 100)))
    return false;
  *b = (struct backoff){
      .initial_us = (int64_t)(o->initial_ms ? o->initial_ms : INITIAL_MS) * 1000,
      .max_us = (int64_t)(o->max_ms ? o->max_ms : MAX_MS) * 1000,
      .multiplier = o->multiplier > 0 ? o->multiplier : MULTIPLIER,
      .jitter = (o->jitter_percent > 0 ? o->jitter_percent : JITTER_PERCENT) / 100,
  };
  if (b->initial_us > b->max_us)
    b->initial_us = b->max_us;
  backoff_reset(b);
  return true;
}

/* xorshift64*: no secret hangs on it. */
static double random_part(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return (double)((*state * 2685821657736338717u) >> 11) / (double)(1ull << 53);
}

int64_t backoff_jitter(double us, double part, uint64_t *random) {
  return (int64_t)(us * (1 + part * (2 * random_part(random) - 1)));
}

void backoff_fail(struct backoff *b, int64_t now_us, uint64_t *random) {
  b->until_us = now_us + backoff_jitter(b->next_us, b->jitter, random);
  b->next_us *= b->multiplier;
  if (b->next_us > (double)b->max_us)
    b->next_us = (double)b->max_us;
}

void backoff_reset(struct backoff *b) {
  b->next_us = (double)b->initial_us;
  b->until_us = 0;
}

uint64_t backoff_seed(void) {
  uint64_t seed = 0;
  struct timespec ts;
  if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
    clock_gettime(CLOCK_MONOTONIC, &ts);
    seed = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
  }
  return seed ? seed : 1;
}
