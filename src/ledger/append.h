/*
 * append: writes a batch of events to the end of a ledger, in one statement and one round trip.
 *
 * The statement advances the ledger's row, if it is still the claim's and has the size the claim
 * knows, and inserts the events with the sequences that follow from it, the record of the batch and
 * the nodes of the log that it completes: all of it happens or nothing does, and two writers never
 * take the same place. An appender is the caller's reusable memory for encoding; it has no
 * connection. One appender serves one batch at a time.
 */
#pragma once

#include "ledger/seal.h"

struct appender;

struct appender *appender_new(void);
void appender_free(struct appender *a);

/* Queues the batch on the lease's pipeline: items[i] gets the sequence claim->edge.size + i. Rows
 * are inserted in the order of event_id, so that two batches with common ids can't deadlock. */
struct append_write {
  const struct claim *claim;
  const struct seal *seal; /* made for these items */
  const struct append_item *items;
  int count;
  int64_t lease_us; /* the claim's, from now */
};
void append_send(struct appender *a, struct pg_lease *conn, const struct append_write *write);

/* Whether append_send's result (the statement's) wrote all rows; false: the ledger was another's or
 * had another size, and nothing was written. */
bool append_was_written(const PGresult *result, int count);

/* What is stored under the ids and times of a batch: for each found item its index, its place, when
 * it was committed and whether the content is the same, compared by PostgreSQL over every column.
 */
struct append_match {
  int index;
  struct event_place place;
  int64_t committed_us;
  bool is_same;
};
void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count);
int append_match_count(const PGresult *result);
int append_read_match(const PGresult *result, int row, struct append_match *ret_match,
                      struct error *err);
