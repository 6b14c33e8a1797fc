/*
 * quota: how much of something may be had in a second.
 *
 * A request is let in while less than a second's worth is owed, whatever it costs, and what it
 * costs is owed from then on: on average the rate holds, a second's worth can be had at once, and
 * requests large and small wait for the same moment, so that neither keep the others out. With
 * another rate than before nothing is owed.
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
