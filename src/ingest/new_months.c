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

static struct grpc_status *refused(const struct partitions *p, enum error_code code, int month,
                                   int index) {
  char name[MONTH_NAME_SIZE];
  month_partition_name(month, name);
  if (code == ERR_UNAVAILABLE)
    return grpc_status_of_code(
        code, "events[%d].event_time: partition %s isn't known yet and is looked for", index, name);
  return grpc_status_of_code(
      code,
      "events[%d].event_time: there is no partition %s, and none is made: "
      "storage.max_partitions is %d; raise it, or drop months that nobody needs",
      index, name, partitions_max(p));
}

struct grpc_status *new_months_admit(struct new_months *new_months, struct partitions *p, int max,
                                     int64_t time_us, int index) {
  int month = timestamp_month(time_us);
  if (partitions_has(p, month) || month_set_has(&new_months->months, month))
    return NULL;
  int rc = partitions_admit(p, month, new_months->count, NULL);
  if (rc < 0)
    return refused(p, (enum error_code)rc, month, index);
  if (new_months->count >= max)
    return too_many(max, month, index);
  month_set_add(&new_months->months, month);
  new_months->count++;
  return NULL;
}
