/*
 * backoff: pauses between failures that grow, with a random part so that many clients of one server
 * don't come back in step.
 */
#pragma once

#include "auditstore/channel.h"

struct backoff {
  int64_t initial_us, max_us;
  double multiplier;
  double jitter; /* 0.2: up to so much shorter or longer */
  double next_us;
  int64_t until_us; /* no new round before it */
};

/* Takes the defaults for zeroes. False: a value makes no sense. */
bool backoff_init(struct backoff *b, const struct auditstore_backoff_options *options);

/* After a failure: sets until_us. */
void backoff_fail(struct backoff *b, int64_t now_us, uint64_t *random);

/* After a success. */
void backoff_reset(struct backoff *b);

/* `us`, up to `part` of it shorter or longer. */
int64_t backoff_jitter(double us, double part, uint64_t *random);

/* A seed for such numbers; never 0. */
uint64_t backoff_seed(void);
