#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void a_value_counts_in_the_first_bucket_it_fits(void **state) {
  (void)state;
  struct histogram h;
  histogram_init(&h, 10, 3);
  const int64_t values[] = {-5, 0, 10, 11, 20, 21, 40, 41, INT32_MAX};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
    histogram_add(&h, values[i]);
  assert_int_equal(h.counts[0], 3);
  assert_int_equal(h.counts[1], 2);
  assert_int_equal(h.counts[2], 2);
  assert_int_equal(h.counts[3], 2);
  assert_int_equal(histogram_count(&h), 9);
  assert_int_equal(h.sum, 143 + (int64_t)INT32_MAX);
}

static void bounds_double(void **state) {
  (void)state;
  struct histogram h;
  histogram_init_time(&h);
  assert_int_equal(histogram_bound(&h, 0), 50);
  assert_int_equal(histogram_bound(&h, 1), 100);
  assert_int_equal(histogram_bound(&h, h.bound_count - 1), 50LL << 18);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_value_counts_in_the_first_bucket_it_fits),
      cmocka_unit_test(bounds_double),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
