#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

#define US_PER_S 1000000

enum { NUMBER_SIZE = 32 };

static const char *const type_names[] = {
    [METRIC_GAUGE] = "gauge",
    [METRIC_COUNTER] = "counter",
    [METRIC_HISTOGRAM] = "histogram",
};

static void append(struct metrics *m, const char *text) {
  bool has_room = buf_append_str(m->out, text);
  assert(has_room);
  (void)has_room;
}

/* ---- text ---- */

/* Backslashes and line ends; quotes as well inside a label's value. */
static void append_escaped(struct metrics *m, const char *text, bool is_label) {
  for (const char *c = text; *c; c++) {
    const char plain[] = {*c, '\0'};
    if (*c == '\\')
      append(m, "\\\\");
    else if (*c == '\n')
      append(m, "\\n");
    else if (*c == '"' && is_label)
      append(m, "\\\"");
    else
      append(m, plain);
  }
}

/* Microseconds are written in full, so that no digit is lost and none is made up. */
static void format_seconds(char text[NUMBER_SIZE], int64_t us) {
  const char *sign = us < 0 ? "-" : "";
  uint64_t magnitude = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
  snprintf(text, NUMBER_SIZE, "%s%" PRIu64 ".%06" PRIu64, sign, magnitude / US_PER_S,
           magnitude % US_PER_S);
  size_t len = strlen(text);
  while (text[len - 1] == '0')
    len--;
  if (text[len - 1] == '.')
    len--;
  text[len] = '\0';
}

static void format_value(char text[NUMBER_SIZE], enum metric_unit unit, int64_t value) {
  if (unit == METRIC_TIME && value == CLOCK_NEVER)
    snprintf(text, NUMBER_SIZE, "+Inf");
  else if (unit == METRIC_TIME)
    format_seconds(text, value);
  else
    snprintf(text, NUMBER_SIZE, "%" PRId64, value);
}

/* ---- samples ---- */

static void begin_family(struct metrics *m, const struct metric_family *family) {
  if (m->family == family)
    return;
  m->family = family;
  append(m, "# HELP ");
  append(m, family->name);
  append(m, " ");
  append_escaped(m, family->help, false);
  append(m, "\n# TYPE ");
  append(m, family->name);
  append(m, " ");
  append(m, type_names[family->type]);
  append(m, "\n");
}

static void append_label(struct metrics *m, const char *label, const char *value) {
  append(m, "{");
  append(m, label);
  append(m, "=\"");
  append_escaped(m, value, true);
  append(m, "\"}");
}

static void append_value(struct metrics *m, enum metric_unit unit, int64_t value) {
  char text[NUMBER_SIZE];
  format_value(text, unit, value);
  append(m, " ");
  append(m, text);
  append(m, "\n");
}

void metrics_begin(struct metrics *metrics, struct buf *out) {
  *metrics = (struct metrics){.out = out};
}

void metrics_add(struct metrics *metrics, const struct metric_family *family, int64_t value) {
  assert(family->type != METRIC_HISTOGRAM && !family->label);
  begin_family(metrics, family);
  append(metrics, family->name);
  append_value(metrics, family->unit, value);
}

void metrics_add_labelled(struct metrics *metrics, const struct metric_family *family,
                          const char *label_value, int64_t value) {
  assert(family->type != METRIC_HISTOGRAM && family->label);
  begin_family(metrics, family);
  append(metrics, family->name);
  append_label(metrics, family->label, label_value);
  append_value(metrics, family->unit, value);
}

static void add_bucket(struct metrics *m, const struct metric_family *family, const char *bound,
                       int64_t count) {
  append(m, family->name);
  append(m, "_bucket");
  append_label(m, "le", bound);
  append_value(m, METRIC_NUMBER, count);
}

static void add_total(struct metrics *m, const struct metric_family *family, const char *suffix) {
  append(m, family->name);
  append(m, suffix);
}

void metrics_add_histogram(struct metrics *metrics, const struct metric_family *family,
                           const struct histogram *histogram) {
  assert(family->type == METRIC_HISTOGRAM && !family->label);
  begin_family(metrics, family);
  int64_t count = 0;
  for (int i = 0; i < histogram->bound_count; i++) {
    char bound[NUMBER_SIZE];
    format_value(bound, family->unit, histogram_bound(histogram, i));
    count += histogram->counts[i];
    add_bucket(metrics, family, bound, count);
  }
  count = histogram_count(histogram);
  add_bucket(metrics, family, "+Inf", count);
  add_total(metrics, family, "_sum");
  append_value(metrics, family->unit, histogram->sum);
  add_total(metrics, family, "_count");
  append_value(metrics, METRIC_NUMBER, count);
}

/* ---- the reference ---- */

static void print_table(FILE *out, const struct metric_table *table) {
  fprintf(out, "\n## %s\n\n| Name | Type | Label | Meaning |\n|---|---|---|---|\n", table->title);
  for (int i = 0; i < table->count; i++) {
    const struct metric_family *family = &table->families[i];
    const char *tick = family->label ? "`" : "";
    fprintf(out, "| `%s` | %s | %s%s%s | %s |\n", family->name, type_names[family->type], tick,
            family->label ? family->label : "", tick, family->help);
  }
}

void metrics_print_reference(FILE *out, const struct metric_table *const *tables, int count) {
  for (int i = 0; i < count; i++)
    print_table(out, tables[i]);
}
