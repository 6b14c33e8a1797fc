#include "base/histogram.h"

#include <assert.h>

enum { TIME_FIRST_US = 50, TIME_BOUNDS = 19 };

void histogram_init(struct histogram *histogram, int64_t first_bound, int bound_count) {
  assert(first_bound > 0 && bound_count > 0 && bound_count <= HISTOGRAM_BOUNDS_MAX);
  *histogram = (struct histogram){.first_bound = first_bound, .bound_count = bound_count};
}

void histogram_init_time(struct histogram *histogram) {
  histogram_init(histogram, TIME_FIRST_US, TIME_BOUNDS);
}

void histogram_add(struct histogram *histogram, int64_t value) {
  int64_t bound = histogram->first_bound;
  int index = 0;
  for (; index < histogram->bound_count && value > bound; index++)
    bound *= 2;
  histogram->counts[index]++;
  histogram->sum += value > 0 ? value : 0;
}

int64_t histogram_bound(const struct histogram *histogram, int index) {
  return histogram->first_bound << index;
}

int64_t histogram_count(const struct histogram *histogram) {
  int64_t count = 0;
  for (int i = 0; i <= histogram->bound_count; i++)
    count += histogram->counts[i];
  return count;
}
