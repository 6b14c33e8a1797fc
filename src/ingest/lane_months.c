/*
 * The months of a batch's events: each has to have its partition before the batch is written.
 */
#include <limits.h>

#include "base/timestamp.h"
#include "ingest/answers.h"
#include "ingest/lane_private.h"

static bool month_is_known(struct lane *lane, int64_t time_us) {
  if (time_us >= lane->known_from_us && time_us < lane->known_until_us)
    return true;
  int month = timestamp_month(time_us);
  if (!partitions_has(lane->env->partitions, month))
    return false;
  lane->known_from_us = timestamp_month_start_us(month);
  lane->known_until_us = timestamp_month_start_us(month + 1);
  return true;
}

/* After the server said that a partition is missing, what is known doesn't count: each month of the
 * batch is made once. */
static bool month_is_missing(struct lane *lane, int64_t time_us, int *ret_month) {
  if (!lane->is_ensure_forced && month_is_known(lane, time_us))
    return false;
  int month = timestamp_month(time_us);
  if (lane->is_ensure_forced && month <= lane->ensured_month)
    return false;
  if (month < *ret_month)
    *ret_month = month;
  return true;
}

bool lane_missing_month(struct lane *lane, int *ret_month) {
  bool is_missing = false;
  *ret_month = INT_MAX;
  for (int i = 0; i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    for (int j = 0; request && j < request->count; j++)
      is_missing = month_is_missing(lane, request->events[j].time_us, ret_month) || is_missing;
  }
  lane->is_ensure_forced = lane->is_ensure_forced && is_missing;
  return is_missing;
}

static bool request_has_month(const struct ingest_request *request, int month) {
  int64_t from_us = timestamp_month_start_us(month);
  int64_t until_us = timestamp_month_start_us(month + 1);
  for (int i = 0; i < request->count; i++) {
    if (request->events[i].time_us >= from_us && request->events[i].time_us < until_us)
      return true;
  }
  return false;
}

static void on_ensured(void *arg, const struct error *err) {
  struct lane *lane = arg;
  bool is_worth_retry =
      err && error_is_retryable(err->code) && !pg_pool_is_down(lane->env->pool, NULL);
  if (is_worth_retry && lane->batch.open_count > 0) {
    lane->outage = err->code;
    lane_pause(lane);
    return;
  }
  for (int i = 0; err && i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    if (request && request_has_month(request, lane->ensured_month))
      batch_settle(&lane->batch, i, answer_no_partition(err->code));
  }
  lane_advance(lane);
}

void lane_ensure(struct lane *lane, int month) {
  lane->state = LANE_ENSURING;
  lane->ensured_month = month;
  partitions_ensure(lane->env->partitions, month, batch_first_expiry(&lane->batch), on_ensured,
                    lane);
}
