/* The text that Prometheus reads, and the reference made from the same tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/process_metrics.h"

enum { DEPTH, SPEED, CALLS, TOOK, SIZES };

static const struct metric_family families[] = {
    [DEPTH] = {"queue_depth", METRIC_GAUGE, METRIC_NUMBER, NULL, "How deep."},
    [SPEED] = {"busy_seconds_total", METRIC_COUNTER, METRIC_TIME, NULL, "How long."},
    [CALLS] = {"calls_total", METRIC_COUNTER, METRIC_NUMBER, "result",
               "A \"help\"\\\nof two lines."},
    [TOOK] = {"took_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL, "Times."},
    [SIZES] = {"sizes", METRIC_HISTOGRAM, METRIC_NUMBER, NULL, "Sizes."},
};

static const struct metric_table table = {"Numbers of the test", families,
                                          sizeof(families) / sizeof(families[0])};

struct page {
  struct buf buf;
  struct metrics metrics;
};

static int setup(void **state) {
  struct page *page = calloc(1, sizeof(*page));
  assert_non_null(page);
  buf_init(&page->buf, 65536);
  metrics_begin(&page->metrics, &page->buf);
  *state = page;
  return 0;
}

static int teardown(void **state) {
  struct page *page = *state;
  buf_deinit(&page->buf);
  free(page);
  return 0;
}

static const char *text_of(struct page *page) {
  assert_true(buf_append(&page->buf, "", 1));
  return (const char *)buf_bytes(&page->buf);
}

static void assert_page(struct page *page, const char *expected) {
  assert_string_equal(text_of(page), expected);
}

static void help_and_type_precede_a_sample(void **state) {
  struct page *page = *state;
  metrics_add(&page->metrics, &families[DEPTH], -3);
  assert_page(page,
              "# HELP queue_depth How deep.\n"
              "# TYPE queue_depth gauge\n"
              "queue_depth -3\n");
}

static void samples_of_one_family_share_help_and_type(void **state) {
  struct page *page = *state;
  metrics_add_labelled(&page->metrics, &families[CALLS], "ok", 5);
  metrics_add_labelled(&page->metrics, &families[CALLS], "bad", INT64_MAX);
  metrics_add(&page->metrics, &families[DEPTH], 1);
  assert_page(page,
              "# HELP calls_total A \"help\"\\\\\\nof two lines.\n"
              "# TYPE calls_total counter\n"
              "calls_total{result=\"ok\"} 5\n"
              "calls_total{result=\"bad\"} 9223372036854775807\n"
              "# HELP queue_depth How deep.\n"
              "# TYPE queue_depth gauge\n"
              "queue_depth 1\n");
}

static void label_values_are_escaped(void **state) {
  struct page *page = *state;
  metrics_add_labelled(&page->metrics, &families[CALLS], "a\\b\"c\nd{e}=\xc3\xa9", 0);
  assert_non_null(
      strstr(text_of(page), "\ncalls_total{result=\"a\\\\b\\\"c\\nd{e}=\xc3\xa9\"} 0\n"));
}

static void microseconds_become_seconds_without_losing_a_digit(void **state) {
  static const struct {
    int64_t us;
    const char *seconds;
  } cases[] = {
      {0, "0"},
      {1, "0.000001"},
      {50, "0.00005"},
      {999999, "0.999999"},
      {1000000, "1"},
      {1500000, "1.5"},
      {10000000, "10"},
      {1795436304057479, "1795436304.057479"},
      {-1, "-0.000001"},
      {-2500000, "-2.5"},
      {INT64_MIN, "-9223372036854.775808"},
      {CLOCK_NEVER - 1, "9223372036854.775806"},
      {CLOCK_NEVER, "+Inf"},
  };
  struct page *page = *state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char line[64];
    buf_clear(&page->buf);
    metrics_add(&page->metrics, &families[SPEED], cases[i].us);
    snprintf(line, sizeof(line), "busy_seconds_total %s\n", cases[i].seconds);
    const char *text = text_of(page);
    assert_string_equal(text + strlen(text) - strlen(line), line);
  }
}

static void plain_numbers_are_never_infinite(void **state) {
  struct page *page = *state;
  metrics_add(&page->metrics, &families[DEPTH], CLOCK_NEVER);
  assert_non_null(strstr(text_of(page), "queue_depth 9223372036854775807\n"));
}

static void buckets_are_cumulative_and_end_at_infinity(void **state) {
  struct page *page = *state;
  struct histogram histogram;
  histogram_init(&histogram, 1, 3);
  const int64_t values[] = {1, 1, 2, 4, 5, 100};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
    histogram_add(&histogram, values[i]);
  metrics_add_histogram(&page->metrics, &families[SIZES], &histogram);
  assert_page(page,
              "# HELP sizes Sizes.\n"
              "# TYPE sizes histogram\n"
              "sizes_bucket{le=\"1\"} 2\n"
              "sizes_bucket{le=\"2\"} 3\n"
              "sizes_bucket{le=\"4\"} 4\n"
              "sizes_bucket{le=\"+Inf\"} 6\n"
              "sizes_sum 113\n"
              "sizes_count 6\n");
}

static void bounds_and_sums_of_times_are_in_seconds(void **state) {
  struct page *page = *state;
  struct histogram histogram;
  histogram_init(&histogram, 50, 2);
  histogram_add(&histogram, 50);
  histogram_add(&histogram, 1500000);
  metrics_add_histogram(&page->metrics, &families[TOOK], &histogram);
  assert_page(page,
              "# HELP took_seconds Times.\n"
              "# TYPE took_seconds histogram\n"
              "took_seconds_bucket{le=\"0.00005\"} 1\n"
              "took_seconds_bucket{le=\"0.0001\"} 1\n"
              "took_seconds_bucket{le=\"+Inf\"} 2\n"
              "took_seconds_sum 1.50005\n"
              "took_seconds_count 2\n");
}

static void the_reference_has_a_row_for_each_family(void **state) {
  (void)state;
  static const struct metric_family two[] = {
      {"a_total", METRIC_COUNTER, METRIC_NUMBER, "why", "Why."},
      {"b", METRIC_HISTOGRAM, METRIC_TIME, NULL, "Be."},
  };
  static const struct metric_table small = {"Small", two, 2};
  const struct metric_table *tables[] = {&small, &table};
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  assert_non_null(out);
  metrics_print_reference(out, tables, 2);
  assert_int_equal(fclose(out), 0);
  const char *expected =
      "\n## Small\n\n| Name | Type | Label | Meaning |\n|---|---|---|---|\n"
      "| `a_total` | counter | `why` | Why. |\n"
      "| `b` | histogram |  | Be. |\n"
      "\n## Numbers of the test\n";
  assert_memory_equal(text, expected, strlen(expected));
  free(text);
}

/* ---- the process ---- */

static double value_of(const char *text, const char *name) {
  char start[128];
  snprintf(start, sizeof(start), "\n%s ", name);
  const char *found = strstr(text, start);
  if (found)
    return strtod(found + strlen(start), NULL);
  fail_msg("no sample of %s", name);
  return 0;
}

static double open_fds(struct page *page) {
  buf_clear(&page->buf);
  process_metrics_write(&page->metrics, 1500000);
  return value_of(text_of(page), "process_open_fds");
}

static void the_process_shows_its_memory_and_start(void **state) {
  struct page *page = *state;
  process_metrics_write(&page->metrics, 1500000);
  const char *text = text_of(page);
  assert_true(value_of(text, "process_start_time_seconds") == 1.5);
  assert_true(value_of(text, "process_resident_memory_bytes") > 100e3);
  assert_true(value_of(text, "process_virtual_memory_bytes") >=
              value_of(text, "process_resident_memory_bytes"));
  assert_true(value_of(text, "process_cpu_seconds_total") >= 0);
  assert_true(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
  for (int i = 0; i < process_metric_table.count; i++)
    value_of(text, process_metric_table.families[i].name);
}

static int descriptors_in_use(void) {
  int count = 0;
  for (int fd = 0; fd < 4096; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void open_descriptors_are_counted(void **state) {
  struct page *page = *state;
  double before = open_fds(page);
  assert_true(before == descriptors_in_use());
  int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int b = open("/dev/null", O_RDONLY | O_CLOEXEC);
  assert_true(open_fds(page) == before + 2);
  close(a);
  close(b);
  assert_true(open_fds(page) == before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(help_and_type_precede_a_sample, setup, teardown),
      cmocka_unit_test_setup_teardown(samples_of_one_family_share_help_and_type, setup, teardown),
      cmocka_unit_test_setup_teardown(label_values_are_escaped, setup, teardown),
      cmocka_unit_test_setup_teardown(microseconds_become_seconds_without_losing_a_digit, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(plain_numbers_are_never_infinite, setup, teardown),
      cmocka_unit_test_setup_teardown(buckets_are_cumulative_and_end_at_infinity, setup, teardown),
      cmocka_unit_test_setup_teardown(bounds_and_sums_of_times_are_in_seconds, setup, teardown),
      cmocka_unit_test(the_reference_has_a_row_for_each_family),
      cmocka_unit_test_setup_teardown(the_process_shows_its_memory_and_start, setup, teardown),
      cmocka_unit_test_setup_teardown(open_descriptors_are_counted, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
