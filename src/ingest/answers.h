/*
 * answers: the statuses with which ingest refuses events and requests.
 *
 * None of them takes the text of an error: what PostgreSQL, libpq and the pool say is for the log,
 * as it may name hosts, ports, roles, files and statements. A SQLSTATE names nothing.
 */
#pragma once

#include "grpc/status.h"
#include "ingest/ingest.h"

/* The event is stored with other content. */
struct grpc_status *answer_conflict(const struct event *event);

/* There is no connection to PostgreSQL; `trouble` is what pg_acquire() said. Nothing was stored. */
struct grpc_status *answer_no_connection(enum error_code trouble);

/* A commit's answer was lost and couldn't be found out in time. */
struct grpc_status *answer_unknown(void);

/* The request's time is up before anything of it was stored. `trouble` is what kept PostgreSQL from
 * taking it; ERR_OK: nothing is known to be wrong. */
struct grpc_status *answer_expired(const struct ingest_request *request, enum error_code trouble);

/* The database has no partition for a month of the request's, and none could be made: `trouble` is
 * what kind of error that was. */
struct grpc_status *answer_no_partition(enum error_code trouble);

/* PostgreSQL refused the write, and not because of what was to be written. */
struct grpc_status *answer_refused(const struct pg_outcome *outcome);

/* PostgreSQL refuses an event, which passed validation, for good: the only one that was sent, or
 * one of the `count` of a request that is stored whole or not at all. */
struct grpc_status *answer_refused_request(const struct pg_outcome *outcome, int count);

/* What PostgreSQL would have stored isn't what was sent. */
struct grpc_status *answer_altered(void);

/* PostgreSQL's answers have another shape than its tables promise. */
struct grpc_status *answer_out_of_order(void);

/* An event's time is acceptable or not by which of two clocks is asked; they differ by so much. */
struct grpc_status *answer_clock_in_doubt(int64_t difference_us);

/* The daemon stops before anything of the request was stored. */
struct grpc_status *answer_stopping(void);
