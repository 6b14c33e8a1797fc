/*
 * metrics: numbers as a page that Prometheus reads (text format 0.0.4).
 *
 * Words: family = all samples of one name; table = the families of one part, written down once,
 * from which the page's HELP and TYPE lines and docs/metrics.md both come. A part has one table and
 * one function that writes its families from the numbers it works with: nothing is counted twice.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/histogram.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

/* What the numbers given are. Times are given in microseconds and written in seconds;
 * CLOCK_NEVER is written as +Inf. */
enum metric_unit { METRIC_NUMBER, METRIC_TIME };

struct metric_family {
  const char *name;
  enum metric_type type;
  enum metric_unit unit;
  const char *label; /* of each sample; NULL: a single sample without label */
  const char *help;  /* one line */
};

struct metric_table {
  const char *title; /* heading in docs/metrics.md */
  const struct metric_family *families;
  int count;
};

/* A page being written. */
struct metrics {
  struct buf *out;                    /* borrowed; must have room for all that is added */
  const struct metric_family *family; /* the one whose HELP and TYPE were written last */
};

void metrics_begin(struct metrics *metrics, struct buf *out);

/* One sample. Samples of one family are added one after the other. `label_value` is escaped; it
 * must be given for families with a label. */
void metrics_add(struct metrics *metrics, const struct metric_family *family, int64_t value);
void metrics_add_labelled(struct metrics *metrics, const struct metric_family *family,
                          const char *label_value, int64_t value);

/* All samples of a family of type METRIC_HISTOGRAM. */
void metrics_add_histogram(struct metrics *metrics, const struct metric_family *family,
                           const struct histogram *histogram);

/* The reference (Markdown) of the families of some tables. */
void metrics_print_reference(FILE *out, const struct metric_table *const *tables, int count);
