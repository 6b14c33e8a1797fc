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

/* PostgreSQL refused the request, which passed validation. */
struct grpc_status *answer_refused(const struct pg_outcome *outcome);

/* Nothing is wrong with the request, but others got in its way too often. */
struct grpc_status *answer_contended(void);

/* An event's time is acceptable or not by which of two clocks is asked; they differ by so much. */
struct grpc_status *answer_clock_in_doubt(int64_t difference_us);

/* The daemon stops before anything of the request was stored. */
struct grpc_status *answer_stopping(void);
