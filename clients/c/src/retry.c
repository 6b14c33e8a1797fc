#include "retry.h"
#include "backoff.h"

#include <stdlib.h>

#define MAX_ATTEMPTS     5
#define DEFAULT_ATTEMPTS 3
#define DEFAULT_FIRST_MS 100
#define DEFAULT_MAX_MS   1000
#define MULTIPLIER       2
#define JITTER           0.2

#define TENTHS_FULL  100
#define TENTHS_LOW   50 /* no retries at or below it */
#define TENTHS_LOST  10 /* by a failure */
#define TENTHS_FOUND 1  /* by a success */

/* A server that goes on refusing what it was asked isn't asked for ever. */
#define MAX_UNTOUCHED 5
/* A server's wish beyond that is no use to anybody: an hour. */
#define MAX_PUSHBACK_MS 3600000

bool retry_policy_check(struct auditstore_retry_policy *p) {
  if (p->max_attempts < 0 || p->max_attempts > MAX_ATTEMPTS || p->initial_backoff_ms < 0 ||
      p->max_backoff_ms < 0)
    return false;
  p->max_attempts = p->max_attempts ? p->max_attempts : DEFAULT_ATTEMPTS;
  p->initial_backoff_ms = p->initial_backoff_ms ? p->initial_backoff_ms : DEFAULT_FIRST_MS;
  p->max_backoff_ms = p->max_backoff_ms ? p->max_backoff_ms : DEFAULT_MAX_MS;
  return true;
}

void retry_throttle_init(struct retry_throttle *t) {
  t->tenths = TENTHS_FULL;
}

void retry_init(struct retry *r, const struct auditstore_retry_policy *policy) {
  *r = (struct retry){.policy = *policy,
                      .pause_us = policy->initial_backoff_ms * 1000.0,
                      .pushback_ms = RETRY_NO_PUSHBACK};
}

void retry_take_pushback(struct retry *r, struct str value) {
  int64_t ms = 0;
  r->pushback_ms = RETRY_NEVER;
  for (size_t i = 0; i < value.len; i++) {
    if (value.data[i] < '0' || value.data[i] > '9')
      return;
    ms = ms * 10 + (value.data[i] - '0');
    if (ms > MAX_PUSHBACK_MS)
      ms = MAX_PUSHBACK_MS;
  }
  if (value.len > 0)
    r->pushback_ms = ms;
}

bool retry_untouched(struct retry *r) {
  return r->untouched++ < MAX_UNTOUCHED;
}

static void count(struct retry_throttle *t, int tenths) {
  t->tenths += tenths;
  t->tenths = t->tenths < 0 ? 0 : t->tenths > TENTHS_FULL ? TENTHS_FULL : t->tenths;
}

void retry_succeeded(struct retry_throttle *t) {
  count(t, TENTHS_FOUND);
}

/* `delay_ms`: google.rpc.RetryInfo's; -1: none. */
static bool is_retryable(const struct retry *r, enum auditstore_code code, int64_t delay_ms) {
  if (code == AUDITSTORE_UNAVAILABLE)
    return true;
  bool is_told_when = delay_ms >= 0 || r->pushback_ms >= 0;
  return code == AUDITSTORE_RESOURCE_EXHAUSTED && r->policy.retries_exhausted && is_told_when;
}

static int64_t next_pause_us(struct retry *r, int64_t delay_ms, uint64_t *random) {
  if (r->pushback_ms >= 0) {
    r->pause_us = r->policy.initial_backoff_ms * 1000.0;
    return r->pushback_ms * 1000;
  }
  double most_us = r->policy.max_backoff_ms * 1000.0;
  double pause_us = r->pause_us < most_us ? r->pause_us : most_us;
  r->pause_us = pause_us * MULTIPLIER;
  int64_t jittered_us = backoff_jitter(pause_us, JITTER, random);
  return jittered_us > delay_ms * 1000 ? jittered_us : delay_ms * 1000;
}

bool retry_by_policy(struct retry *r, struct retry_throttle *t,
                     const struct auditstore_status *status, uint64_t *random,
                     int64_t *ret_pause_us) {
  int64_t delay_ms = auditstore_status_retry_delay_ms(status);
  bool is_worth_it = is_retryable(r, status->code, delay_ms);
  if (is_worth_it || r->pushback_ms == RETRY_NEVER)
    count(t, -TENTHS_LOST);
  if (!is_worth_it || r->pushback_ms == RETRY_NEVER || t->tenths <= TENTHS_LOW ||
      r->attempts >= r->policy.max_attempts)
    return false;
  *ret_pause_us = next_pause_us(r, delay_ms, random);
  return true;
}
