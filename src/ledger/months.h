/*
 * months: a set of calendar months, numbered as base/timestamp.h does, and the SQL of one month's
 * partition.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* January of year 1 to December of year 9999: what an event_time can hold. */
#define MONTH_MIN 12
#define MONTH_MAX (9999 * 12 + 11)

/* Zeroed is empty. */
struct month_set {
  uint64_t words[MONTH_MAX / 64 + 1];
};

static inline bool month_is_valid(int month) {
  return month >= MONTH_MIN && month <= MONTH_MAX;
}

/* `month` must be valid. */
void month_set_add(struct month_set *set, int month);

/* False as well for a month that isn't valid. */
bool month_set_has(const struct month_set *set, int month);

int month_set_count(const struct month_set *set);

/* Adds every month that lies wholly within from_us <= t < to_us. */
void month_set_add_range(struct month_set *set, int64_t from_us, int64_t to_us);

/* "audit_events_2026_11" and a NUL. */
#define MONTH_NAME_SIZE 40
void month_partition_name(int month, char ret_name[MONTH_NAME_SIZE]);

/* Appends the statements that make the month's partition unless a table of its name is there. False
 * when `out` is full. */
bool month_partition_sql(int month, struct buf *out);
