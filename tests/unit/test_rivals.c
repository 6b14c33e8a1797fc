/* Who takes from the same thing as others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rivals.h"

enum { ONE = 1, OTHER };

#define SPAN_US 1000

static void one_alone_competes_with_nobody(void **state) {
  struct rivals rivals = {0};
  (void)state;
  for (int64_t us = 1; us < 10; us++) {
    rivals_note(&rivals, ONE, us);
    rivals_note(&rivals, 0, us);
  }
  assert_false(rivals_compete(&rivals, 10, SPAN_US));
}

static void two_compete_for_the_span(void **state) {
  struct rivals rivals = {0};
  (void)state;
  rivals_note(&rivals, OTHER, SPAN_US);
  rivals_note(&rivals, ONE, SPAN_US + 1);
  assert_true(rivals_compete(&rivals, SPAN_US + 1, SPAN_US));
  rivals_note(&rivals, ONE, 2 * SPAN_US - 1);
  assert_true(rivals_compete(&rivals, 2 * SPAN_US - 1, SPAN_US));
  assert_false(rivals_compete(&rivals, 2 * SPAN_US, SPAN_US));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_alone_competes_with_nobody),
      cmocka_unit_test(two_compete_for_the_span),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
