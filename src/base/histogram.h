/*
 * histogram: counts of values by size, in buckets whose bounds double from one to the next.
 *
 * Embedded; no allocation. Values are of any unit; negative ones count as 0.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BOUNDS_MAX 24

struct histogram {
  int64_t first_bound; /* the largest value of the first bucket; 1 or more */
  int bound_count;     /* at most HISTOGRAM_BOUNDS_MAX */
  int64_t sum;
  int64_t counts[HISTOGRAM_BOUNDS_MAX + 1]; /* each value in one; the last: above all bounds */
};

void histogram_init(struct histogram *histogram, int64_t first_bound, int bound_count);
void histogram_add(struct histogram *histogram, int64_t value);

/* The largest value of bucket `index`, 0 to bound_count - 1. */
int64_t histogram_bound(const struct histogram *histogram, int index);

/* How many values were added. */
int64_t histogram_count(const struct histogram *histogram);

/* 50 us, doubled up to 13 s: for what a database takes, in microseconds. */
void histogram_init_time(struct histogram *histogram);
