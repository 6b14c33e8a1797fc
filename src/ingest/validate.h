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
#include "ledger/event.h"

struct validator {
  const struct config_ingest *config;
  struct uuid_v7 ids; /* for events without an id */
  int64_t now_us;     /* wall clock, set by the caller before each request */
  int made_ids;       /* counts the events that were given an id */
};

/* Fills *ret_event; texts are borrowed from `message`, which may be lower-cased in place. Each
 * problem becomes a violation "events[index].path" on *status, which is made as INVALID_ARGUMENT on
 * the first one. True when there was none. */
bool validate_event(struct validator *v, Auditstore__V1__AuditEvent *message, int index,
                    struct event *ret_event, struct grpc_status **status);
