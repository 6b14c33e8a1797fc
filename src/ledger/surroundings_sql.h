/*
 * surroundings_sql: the SQL of surroundings.h, in files of its own for its length.
 */
#pragma once

/* See surroundings.h. Static storage. */
extern const char surroundings_fingerprint[];

/* One row per finding, the gravest first, at most SURROUNDINGS_ROWS_MAX; with no finding, one row.
 * The first, and the last three, are the same in each row. */
#define SURROUNDINGS_ROWS_MAX "100"
enum surroundings_column {
  SURROUNDINGS_FINGERPRINT, /* int8 */
  SURROUNDINGS_TEXT,        /* text; null: there is no finding */
  SURROUNDINGS_COUNT,       /* int8 */
  SURROUNDINGS_WATCHED,     /* bool */
  SURROUNDINGS_BLOCKING,    /* bool */
  SURROUNDINGS_COLUMNS
};
extern const char surroundings_question[];
