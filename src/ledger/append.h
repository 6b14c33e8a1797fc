/*
 * append: writes a batch of events to the end of a ledger, in one statement and one round trip.
 *
 * The statement advances the ledger's row from the size the caller knows, by compare, and inserts
 * the events with the sequences that follow from it: both happen or neither does, and two writers
 * never take the same place (fencing by compare). An appender is the caller's reusable memory for
 * encoding; it has no connection. One appender serves one batch at a time.
 */
#pragma once

#include "ledger/event.h"
#include "pg/pool.h"

struct append_item {
  const struct event *event;
  int64_t received_us;
};

struct appender;

struct appender *appender_new(void);
void appender_free(struct appender *a);

/* Makes the ledger's row if it isn't there and reads its size, waiting for a writer that is still
 * at it. on_result row: (tree_size int8). A size other than the one a lost write was sent with
 * means that the write is in, or never will be: append_send_lookup() tells which. */
void append_send_open(struct pg_lease *conn, int64_t ledger_id);
int append_read_size(const PGresult *result, int64_t *ret_size, struct error *err);

/* Queues the batch on the lease's pipeline: items[i] gets the sequence place.size + i. Rows are
 * inserted in the order of event_id, so that two batches with common ids can't deadlock. */
struct append_place {
  int64_t ledger_id;
  int64_t size;
};
void append_send(struct appender *a, struct pg_lease *conn, struct append_place place,
                 const struct append_item *items, int count);

/* Whether append_send's result (the statement's) wrote all rows; false: the ledger's size was not
 * what the caller said, and nothing was written. */
bool append_was_written(const PGresult *result, int count);

/* What is stored under the ids and times of a batch: for each found item its index, place and
 * whether the content is the same, compared by PostgreSQL over every column. */
struct append_match {
  int index;
  int64_t ledger_id;
  int64_t sequence;
  int64_t received_us;
  bool is_same;
};
void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count);
int append_match_count(const PGresult *result);
int append_read_match(const PGresult *result, int row, struct append_match *ret_match,
                      struct error *err);
