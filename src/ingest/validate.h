/*
 * validate: from the API's AuditEvent to the normalised struct event, or to field violations.
 *
 * Everything that PostgreSQL could refuse is refused here: lengths, UTF-8, NUL, UUIDs, times, JSON,
 * addresses, ranges.
 */
#pragma once

#include "base/clock.h"
#include "config/config.h"
#include "grpc/status.h"
#include "ingest/new_months.h"
#include "ledger/event.h"
#include "pg/server_clock.h"

struct validator {
  const struct config_ingest *config;
  struct uuid_v7 ids;             /* for events without an id */
  int64_t now_us;                 /* wall clock, set by the caller before each request */
  struct clock_difference clocks; /* the same moment's, set like it */
  int made_ids;                   /* counts the events that were given an id */
  struct partitions *partitions;  /* whose months exist; NULL: any month will do */
  struct new_months new_months;   /* of the request */
  bool is_clock_in_doubt; /* set for an event that is refused by this machine's clock alone */
};

/* Fills *ret_event; texts are borrowed from `message`, which may be lower-cased in place. Each
 * problem becomes a violation "events[index].path" on *status, which is made as INVALID_ARGUMENT on
 * the first one. True when there was none.
 *
 * A time that lies outside the accepted window by this machine's clock and within it by
 * PostgreSQL's makes no violation, as nobody knows which clock is right: v->is_clock_in_doubt is
 * set, and the answer is false. The caller resets it before each request. */
bool validate_event(struct validator *v, Auditstore__V1__AuditEvent *message, int index,
                    struct event *ret_event, struct grpc_status **status);
