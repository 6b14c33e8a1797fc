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

/* The time of a part of a token isn't counted yet: it would be lost to who asks often. */
static inline void bucket_refill(struct bucket *b, int64_t now_us) {
  int64_t elapsed_us = now_us - b->filled_us;
  if (elapsed_us >= b->burst * 1000000 / b->per_second) {
    b->filled_us = now_us;
    b->tokens = b->burst;
    return;
  }
  int64_t tokens = elapsed_us * b->per_second / 1000000;
  b->filled_us += tokens * 1000000 / b->per_second;
  bucket_put(b, tokens);
}

/* Refills are looked at only when it runs dry: the common case is a subtraction. */
static inline bool bucket_take(struct bucket *b, int64_t now_us) {
  if (b->tokens == 0)
    bucket_refill(b, now_us);
  if (b->tokens == 0)
    return false;
  b->tokens--;
  return true;
}
