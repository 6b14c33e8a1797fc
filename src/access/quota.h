/*
 * quota: how much of something may be had in a second.
 *
 * A second's worth can be had at once. What is larger than that is let through when nothing is
 * owed, and is paid off before anything else is: on average the rate holds, and nothing is refused
 * for ever. With another rate than before nothing is owed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Embedded; zeroed at first. */
struct quota {
  int64_t free_at_ns; /* monotonic; when all that was taken is paid off */
  int64_t per_second; /* at this rate */
};

struct quota_share {
  int64_t amount;
  int64_t per_second; /* 0: no limit */
};

/* 0: it may be had now. Else in so many microseconds, if nobody else takes it before. */
int64_t quota_wait_us(const struct quota *quota, struct quota_share share, int64_t now_us);

void quota_take(struct quota *quota, struct quota_share share, int64_t now_us);
