/*
 * rows: events as rows of audit_events: columns out, columns in, comparison in SQL.
 *
 * event_columns is the one list of the stored columns of struct event; every statement that writes
 * or reads events is made from it, in its order. A row has, behind those, its place: received_at,
 * ledger_id, sequence and principal.
 */
#pragma once

#include <libpq-fe.h>

#include "base/must_check.h"
#include "ledger/event.h"
#include "pg/pool.h"

/* Columns of struct event besides its texts. */
#define EVENT_PLAIN_COLUMNS 9
#define EVENT_COLUMN_COUNT  (EVENT_PLAIN_COLUMNS + EVENT_TEXT_COUNT)

struct event_column {
  const char *name;
  const char *cast; /* "::text" where the type has no equality, else "" */
  enum pg_type element;
  enum pg_type array;
  bool is_nullable;
  enum event_text text; /* which text, for columns that hold one */
  /* Appends the event's value in the form of an array element. False: `out` is full. */
  bool (*put)(struct buf *out, const struct event *event, enum event_text text);
  /* Takes a result's value, NULL data for SQL NULL. False: not a value of the type. */
  bool (*get)(struct str value, enum event_text text, struct event *event);
};
extern const struct event_column event_columns[EVENT_COLUMN_COUNT];

/* Whether two events have the same content in every column. */
bool event_is_same(const struct event *a, const struct event *b);

/* "e.event_id, e.event_time, ..., e.event_data::text, e.received_at, e.ledger_id, e.sequence,
 * e.principal": what event_row_read() expects, from a table alias `e`. Built on first use, static.
 */
const char *event_row_columns(void);

/* Reads row `row` of a result that begins with event_row_columns(). Texts are borrowed from the
 * result: they live until it is cleared. ERR_INTERNAL when the row doesn't have that shape. */
MUST_CHECK int event_row_read(const PGresult *result, int row, struct stored_event *ret_stored,
                              struct error *err);
