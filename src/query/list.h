/*
 * list: one page of ListEvents, from the request to SQL and from its rows to the response. No I/O.
 */
#pragma once

#include "base/arena.h"
#include "base/must_check.h"
#include "config/config.h"
#include "query/page_token.h"

/* A page ends early rather than grow beyond this: stock clients refuse messages above 4 MiB. */
#define LIST_PAGE_MAX_BYTES ((size_t)3584 * 1024)

/* PostgreSQL sends no more rows than this, by an estimate that is a little above what a page can
 * hold, so that a page of large events doesn't fill our memory. */
#define LIST_ROWS_MAX_BYTES ((int64_t)4 * 1024 * 1024)

struct list_query {
  int page_size;           /* effective */
  struct page_token token; /* order and filter; where the page before ended */
  struct sql sql;
};

/* NULL: done, and list_query_deinit() is due. Otherwise what is wrong with the request, as a status
 * that the caller owns. */
struct grpc_status *list_query_init(struct list_query *query,
                                    const Auditstore__V1__ListEventsRequest *request,
                                    const struct config_query *config);
void list_query_deinit(struct list_query *query);

/* Fills an initialised response from the statement's rows. The response borrows from `result` and
 * `arena`, whose limit should be list_arena_bytes(). */
MUST_CHECK int list_read(const struct list_query *query, const PGresult *result,
                         struct arena *arena, Auditstore__V1__ListEventsResponse *response,
                         struct error *err);

/* What the rows of a page may take in memory. */
size_t list_result_bytes(const struct list_query *query);

/* ... and what its structs may. */
size_t list_arena_bytes(const struct list_query *query);
