/*
 * table: rows of texts as aligned columns, as wide as the terminal allows.
 *
 * Rows are collected a screenful at a time, and columns are as wide as what was seen so far needs.
 * When a line would be wider than the terminal, the widest of the columns that may shrink give way;
 * when they have become short, the optional last column goes; then they shrink further; what is
 * still too wide is cut.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TABLE_MAX_COLUMNS 8
#define TABLE_MAX_ROWS    200

struct table_column {
  const char *title;
  bool may_shrink;
  bool is_optional; /* of the last column only */
};

struct table {
  const struct table_column *columns; /* borrowed */
  size_t column_count;
  char *cells[TABLE_MAX_ROWS][TABLE_MAX_COLUMNS]; /* owned, escaped */
  size_t row_count;
  size_t widths[TABLE_MAX_COLUMNS];
  size_t line_width; /* 0: no limit */
  bool has_header;   /* printed already */
};

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_deinit(struct table *table);

/* Copies the cells of one row, escaping what must not reach a terminal. False: out of memory. */
bool table_add(struct table *table, const char *const *cells);

/* Prints the rows collected and forgets them. table_add() does so when it has many. */
void table_flush(struct table *table);
