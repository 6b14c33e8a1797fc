/*
 * retry: whether a call that failed is made again (gRFC A6).
 *
 * Words: untouched = the server can't have processed the attempt, so that any call may be made
 * again, at once; policy = what the program asked for otherwise; throttle = the channel's tokens,
 * which a server that fails uses up, so that retries don't add to its trouble.
 */
#pragma once

#include "auditstore/call.h"
#include "base/str.h"

struct retry_throttle {
  int tenths; /* of a token */
};

struct retry {
  struct auditstore_retry_policy policy;
  int attempts;        /* so far, without those that left the server untouched */
  int untouched;       /* those */
  double pause_us;     /* before the next one, apart from its random part */
  int64_t pushback_ms; /* the server's wish for this attempt */
};

/* No grpc-retry-pushback-ms came; or one that means "don't". */
#define RETRY_NO_PUSHBACK INT64_MIN
#define RETRY_NEVER       (-1)

/* Takes the defaults for zeroes. False: a value makes no sense. */
bool retry_policy_check(struct auditstore_retry_policy *policy);

void retry_throttle_init(struct retry_throttle *t);
void retry_init(struct retry *r, const struct auditstore_retry_policy *policy);
void retry_take_pushback(struct retry *r, struct str value);

/* Whether a call is made again once more that the server can't have processed. */
bool retry_untouched(struct retry *r);

/* Whether a unary call that ended so, before response headers, is made again; counts it on the
 * throttle. *ret_pause_us: after that. */
bool retry_by_policy(struct retry *r, struct retry_throttle *t,
                     const struct auditstore_status *status, uint64_t *random,
                     int64_t *ret_pause_us);

/* Counts a success. */
void retry_succeeded(struct retry_throttle *t);
