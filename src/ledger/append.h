/*
 * append: writes a batch of events to the end of a ledger, in one transaction and one round trip.
 *
 * Three parts, sent one after the other: the events, with the sequences that follow from the size
 * the claim knows; the ledger's advance, which needs their hashes, and fails unless the ledger is
 * still the claim's and has that size and edge; their record, which needs the signature. They take
 * effect together: two writers never take the same place. While the server is at one part the
 * caller can compute the next.
 *
 * That a statement succeeded isn't taken for its effect: each counts its rows inside the
 * transaction, which ends when one is missing. What could change rows unseen is looked for by the
 * claim (ledger/surroundings.h) and held against that in each write; where there is such a thing,
 * the caller adds a comparison of every row.
 *
 * Two batches of one ledger may be under way on two connections: the second's claim is what the
 * first's will be once it is committed. Each batch that another may be sent behind takes its turn
 * first, and the one behind asks for that turn before its advance: so it waits for the other's end
 * in the server, which sees it when the two stand in each other's way.
 *
 * An appender is the caller's reusable memory for encoding; it has no connection. One appender
 * serves one batch at a time.
 */
#pragma once

#include "base/must_check.h"
#include "ledger/seal.h"

struct appender;

struct appender *appender_new(void);
void appender_free(struct appender *a);

/* Queues a lock that is held to the transaction's end: the turn of the batch that begins at the
 * sequence, or what waits for that batch's end. */
void append_send_turn(struct pg_lease *conn, int64_t ledger_id, int64_t sequence);

/* Queues the events on the lease's pipeline: items[i] gets the sequence claim->edge.size + i. Rows
 * are inserted in the order of event_id, so that two batches with common ids can't deadlock. */
void append_send_events(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct append_item *items, int count);

/* Queues the advance of the ledger's row behind them. `seal` was made for these items; the claim's
 * lease is extended to `lease_us` from now. */
void append_send_advance(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                         const struct seal *seal, int64_t lease_us);

/* Queues the events' record behind that, with the checkpoint if `seal` is signed, and a check that
 * nothing but what the claim knows stands on the tables. */
void append_send_record(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct seal *seal);

/* Queues, last of all, the comparison of every row with what was sent. It costs about as much as
 * the inserts: for tables with triggers, which may have changed anything. */
void append_send_compare(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                         const struct seal *seal, const struct append_item *items);

/* How many statements a whole write queues from its events on, up to the comparison of the rows; of
 * the turn of another, one more. */
int append_count_before_compare(const struct seal *seal);

/* Whether a pipeline of all parts was refused because the ledger was another's, or had another size
 * or edge, or rows of it that aren't its last ones'. */
bool append_is_stale(const struct pg_outcome *outcome);

/* Of these, the last: a record or a node stands where the next one belongs. */
bool append_is_in_the_way(const struct pg_outcome *outcome);

/* Whether it was refused because a statement didn't do what it was sent for: a row was dropped or
 * changed, or something else stands on the tables than when the ledger was claimed. */
bool append_is_altered(const struct pg_outcome *outcome);

/* Of these: the connection has prepared statements that aren't good any more. Discard it. */
bool append_may_have_stale_plans(const struct pg_outcome *outcome);

/* Whether a refusal is one of the answers that a write can get: these, or that an event is stored.
 */
bool append_is_answer(const struct pg_outcome *outcome);

/* What is stored under the ids and times of a batch: for each found item its index, its place, when
 * it was committed and whether the content is the same, compared by PostgreSQL over every column.
 * Once the pipeline has ended well it is as durable as a commit of our own: a row whose own commit
 * didn't wait for the standby is on it by then. The rows are the first statement's result. */
struct append_match {
  int index;
  struct event_place place;
  int64_t committed_us;
  bool is_same;
};
void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count);
int append_match_count(const PGresult *result);
MUST_CHECK int append_read_match(const PGresult *result, int row, struct append_match *ret_match,
                                 struct error *err);
