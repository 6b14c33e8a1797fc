/*
 * bucket: a budget of events that refills with time, for telling abuse from use.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
  int64_t tokens;
  int64_t burst;      /* the most it holds, and what it starts with */
  int64_t per_second; /* how fast it refills */
  int64_t filled_us;  /* monotonic; up to when refilling was counted */
};

static inline void bucket_init(struct bucket *b, int64_t burst, int64_t per_second,
                               int64_t now_us) {
  *b = (struct bucket){burst, burst, per_second, now_us};
}

static inline void bucket_put(struct bucket *b, int64_t tokens) {
  b->tokens = b->burst - b->tokens < tokens ? b->burst : b->tokens + tokens;
}

/* Refills are looked at only when it runs dry: the common case is a subtraction. */
static inline bool bucket_take(struct bucket *b, int64_t now_us) {
  if (b->tokens == 0) {
    int64_t elapsed_us = now_us - b->filled_us;
    b->filled_us = now_us;
    int64_t full_us = b->burst * 1000000 / b->per_second;
    bucket_put(b, elapsed_us >= full_us ? b->burst : elapsed_us * b->per_second / 1000000);
  }
  if (b->tokens == 0)
    return false;
  b->tokens--;
  return true;
}
