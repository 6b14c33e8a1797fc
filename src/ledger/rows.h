/*
 * rows: events as rows of audit_events: columns out, columns in, comparison in SQL.
 *
 * event_columns is the one list of the stored columns of struct event; every statement that writes
 * or reads events is made from it, in its order.
 */
#pragma once

#include <libpq-fe.h>

#include "ledger/event.h"
#include "pg/pool.h"

/* "e.event_id, e.event_time, ..., e.event_data::text, e.received_at, e.ledger_id, e.sequence":
 * what event_row_read() expects, from a table alias `e`. Built on first use, static. */
const char *event_row_columns(void);

/* Reads row `row` of a result that begins with event_row_columns(). Texts are borrowed from the
 * result: they live until it is cleared. ERR_INTERNAL when the row doesn't have that shape. */
int event_row_read(const PGresult *result, int row, struct stored_event *ret_stored,
                   struct error *err);
