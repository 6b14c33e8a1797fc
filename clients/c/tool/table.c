#include "table.h"

#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP         2
#define SHORT_WIDTH 24 /* what a shrunken column keeps for the sake of an optional one */
#define LEAST_WIDTH 8  /* and for the sake of the others */

/* The terminal's, or what COLUMNS says; a pipe has no limit by itself. */
static size_t find_line_width(void) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  const char *columns = getenv("COLUMNS");
  long width = columns ? strtol(columns, NULL, 10) : 0;
  return width > 0 ? (size_t)width : 0;
}

void table_init(struct table *table, const struct table_column *columns, size_t column_count) {
  memset(table, 0, sizeof(*table));
  table->columns = columns;
  table->column_count = column_count;
  table->line_width = find_line_width();
}

static void forget_rows(struct table *table) {
  for (size_t row = 0; row < table->row_count; row++)
    for (size_t i = 0; i < table->column_count; i++)
      free(table->cells[row][i]);
  table->row_count = 0;
}

void table_deinit(struct table *table) {
  forget_rows(table);
}

static size_t total_width(const struct table *table) {
  size_t total = GAP * (table->column_count - 1);
  for (size_t i = 0; i < table->column_count; i++)
    total += table->widths[i];
  return total;
}

static bool is_too_wide(const struct table *table) {
  return table->line_width && total_width(table) > table->line_width;
}

static size_t *widest_that_may_shrink(struct table *table, size_t least) {
  size_t *widest = NULL;
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].may_shrink && table->widths[i] > least &&
        (!widest || table->widths[i] > *widest))
      widest = &table->widths[i];
  return widest;
}

static void shrink(struct table *table, size_t least) {
  size_t *widest = NULL;
  while (is_too_wide(table) && (widest = widest_that_may_shrink(table, least)))
    (*widest)--;
}

static void drop_last_column(struct table *table) {
  assert(table->column_count > 0);
  table->column_count--;
  for (size_t row = 0; row < table->row_count; row++)
    free(table->cells[row][table->column_count]);
}

static void measure(struct table *table) {
  for (size_t i = 0; i < table->column_count; i++) {
    size_t title = strlen(table->columns[i].title);
    table->widths[i] = title > table->widths[i] ? title : table->widths[i];
    for (size_t row = 0; row < table->row_count; row++) {
      size_t width = text_width(table->cells[row][i]);
      table->widths[i] = width > table->widths[i] ? width : table->widths[i];
    }
  }
}

static void fit_widths(struct table *table) {
  measure(table);
  shrink(table, SHORT_WIDTH);
  if (is_too_wide(table) && table->columns[table->column_count - 1].is_optional)
    drop_last_column(table);
  shrink(table, LEAST_WIDTH);
}

static void print_row(const struct table *table, const char *const *cells) {
  size_t left = table->line_width ? table->line_width : SIZE_MAX;
  for (size_t i = 0; i < table->column_count && left > 0; i++) {
    bool is_last = i + 1 == table->column_count;
    size_t width = table->widths[i] < left ? table->widths[i] : left;
    text_print_cell(stdout, cells[i], width, !is_last);
    left -= width;
    for (int gap = 0; !is_last && gap < GAP && left > 0; gap++, left--)
      putchar(' ');
  }
  putchar('\n');
}

static void print_header(struct table *table) {
  const char *titles[TABLE_MAX_COLUMNS];
  for (size_t i = 0; i < table->column_count; i++)
    titles[i] = table->columns[i].title;
  print_row(table, titles);
  table->has_header = true;
}

void table_flush(struct table *table) {
  if (table->row_count == 0)
    return;
  fit_widths(table);
  if (!table->has_header)
    print_header(table);
  for (size_t row = 0; row < table->row_count; row++)
    print_row(table, (const char *const *)table->cells[row]);
  forget_rows(table);
}

bool table_add(struct table *table, const char *const *cells) {
  char **row = table->cells[table->row_count++];
  bool ok = true;
  for (size_t i = 0; i < table->column_count; i++) {
    row[i] = text_escape(cells[i] ? cells[i] : "");
    ok = ok && row[i];
  }
  if (!ok)
    forget_rows(table);
  else if (table->row_count == TABLE_MAX_ROWS)
    table_flush(table);
  return ok;
}
