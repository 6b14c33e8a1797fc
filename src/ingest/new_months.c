#include "ingest/new_months.h"

#include <string.h>

#include "base/timestamp.h"

void new_months_begin(struct new_months *new_months) {
  if (new_months->count > 0)
    memset(new_months, 0, sizeof(*new_months));
}

static struct grpc_status *too_many(int max, int month, int index) {
  char name[MONTH_NAME_SIZE];
  month_partition_name(month, name);
  return grpc_status_new(
      GRPC_RESOURCE_EXHAUSTED,
      "events[%d].event_time: there is no partition %s, and one request may have "
      "%d made at most (ingest.max_new_months): send it in another request",
      index, name, max);
}

static struct grpc_status *refused(struct error *err, int index) {
  error_prefix(err, "events[%d].event_time", index);
  return grpc_status_from_error(err);
}

struct grpc_status *new_months_admit(struct new_months *new_months, struct partitions *p, int max,
                                     int64_t time_us, int index) {
  int month = timestamp_month(time_us);
  struct error err;
  if (partitions_has(p, month) || month_set_has(&new_months->months, month))
    return NULL;
  if (partitions_admit(p, month, new_months->count, &err) < 0)
    return refused(&err, index);
  if (new_months->count >= max)
    return too_many(max, month, index);
  month_set_add(&new_months->months, month);
  new_months->count++;
  return NULL;
}
