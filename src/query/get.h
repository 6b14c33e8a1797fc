/*
 * get: GetEvent, from the request to SQL and from its row to the response. No I/O.
 */
#pragma once

#include "base/arena.h"
#include "base/must_check.h"
#include "query/filter.h"

/* The structs of one event. */
#define GET_ARENA_BYTES 4096
/* And an event at its largest, as PostgreSQL sends it. */
#define GET_ROW_MAX_BYTES ((size_t)2 * 1024 * 1024)

/* NULL: done, and sql_deinit() is due. Otherwise what is wrong with the request, as a status that
 * the caller owns. */
struct grpc_status *get_init(struct sql *sql, const Auditstore__V1__GetEventRequest *request);

/* Fills an initialised response, which borrows from `result` and `arena`. ERR_NOT_FOUND when there
 * is no row. */
MUST_CHECK int get_read(const PGresult *result, struct arena *arena,
                        Auditstore__V1__GetEventResponse *response, struct error *err);
