/*
 * append_sql: the statements of append.c, the events' among them made once from event_columns.
 *
 * Each statement of a write counts what it did and ends the transaction, by an error that has
 * APPEND_ALTERED_MARK in its message, when that isn't what was asked for: whatever swallows or
 * diverts a row, and a plan that was made while a rule did, can't be acknowledged.
 */
#pragma once

#include "ledger/rows.h"

#define APPEND_ALTERED_MARK "auditstore: not what was sent"

/* Parameters of a statement about events: the ledger, the first sequence and how many there are,
 * then one array per column of struct event, then received_at, principal and place (the event's
 * index in the caller's order). The lookup has the arrays alone. */
#define APPEND_EVENT_SCALARS 3
#define APPEND_ROW_ARRAYS    (EVENT_COLUMN_COUNT + 3)
#define APPEND_PARAMS_MAX    (APPEND_EVENT_SCALARS + APPEND_ROW_ARRAYS)

/* The events; a single one's parameters are elements instead of arrays. */
const struct pg_statement *append_insert_statement(void);
const struct pg_statement *append_insert_one_statement(void);

/* Whether each of the events stands where it was put, with the content that was sent. */
const struct pg_statement *append_compare_statement(void);

/* What is stored under the events' ids and times. */
const struct pg_statement *append_lookup_statement(void);

/* $1 ledger, $2 its size, $3 how many events, $4 owner, $5 edge before the batch, $6 edge behind
 * it, $7 lease in microseconds. */
const struct pg_statement *append_advance_statement(void);

/* $1 ledger, $2 levels, $3 indices, $4 hashes. */
const struct pg_statement *append_nodes_statement(void);
const struct pg_statement *append_compare_nodes_statement(void);

/* $1 ledger, $2 first sequence, $3 how many events, $4 leaf hashes, $5 root, $6 committed_at,
 * $7 checkpoint. The second compares what is stored with the same.
 *
 * Both are the last of what they end, and check what all of it stands on: the ledger's row as the
 * advance has to have left it, $8 its owner, $9 its edge, and $10 what
 * surroundings_fingerprint_sql() gave when the ledger was claimed. */
const struct pg_statement *append_record_statement(void);
const struct pg_statement *append_compare_record_statement(void);

/* A commit that changes nothing, where commits wait for a standby: what the transaction read is
 * then on the standby as well, as its log is in order. Elsewhere there is nothing to commit. */
const struct pg_statement *append_confirm_statement(void);

/* What a constraint trigger was told to do at the commit happens now, where it can be seen. */
const struct pg_statement *append_constraints_statement(void);
