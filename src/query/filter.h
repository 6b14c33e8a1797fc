/*
 * filter: what an EventFilter asks for, checked, as SQL, and as a fingerprint for page tokens.
 */
#pragma once

#include "auditstore/v1/audit_store.pb-c.h"
#include "grpc/status.h"
#include "query/sql.h"

#define FILTER_MAX_VALUES 100

/* Adds a violation for everything wrong with `filter` (NULL: none given, which is fine). Fields are
 * named "filter.actor_ids[3]". */
void filter_check(const Auditstore__V1__EventFilter *filter, struct grpc_status **status);

/* Appends " AND ..." for each filled field of a filter that was checked, on a table alias `e`. */
void filter_add_sql(const Auditstore__V1__EventFilter *filter, struct sql *sql);

/* Whether an index leads to the events asked for. With one of audit_events' indexes on a column
 * asked for, and nothing else asked for that most of what it leads to might not have; events of one
 * correlation are few, so more may be asked of them. Times don't count: they bound what is read
 * without an index, but not to little. */
bool filter_is_indexed(const Auditstore__V1__EventFilter *filter);

/* The first bytes of the SHA-256 of what the filter asks for. */
#define FILTER_FINGERPRINT_BYTES 16
void filter_fingerprint(const Auditstore__V1__EventFilter *filter,
                        uint8_t ret_fingerprint[FILTER_FINGERPRINT_BYTES]);
