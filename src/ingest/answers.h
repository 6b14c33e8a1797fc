/*
 * answers: the statuses with which ingest refuses events and requests.
 */
#pragma once

#include "grpc/status.h"
#include "ingest/ingest.h"

/* The event is stored with other content. */
struct grpc_status *answer_conflict(const struct event *event);

/* PostgreSQL can't be reached; `reason` is why. Nothing was stored. */
struct grpc_status *answer_out_of_reach(const struct error *reason);

/* A commit's answer was lost and couldn't be found out in time. */
struct grpc_status *answer_unknown(void);

/* The request's time is up before anything of it was stored. `reason` may be NULL: nothing is known
 * to be wrong. */
struct grpc_status *answer_expired(const struct ingest_request *request,
                                   const struct error *reason);

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

/* The memory for what callers send is used up. */
struct grpc_status *answer_short_of_memory(void);

/* The daemon stops before anything of the request was stored. */
struct grpc_status *answer_stopping(void);
