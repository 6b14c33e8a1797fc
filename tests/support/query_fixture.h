/*
 * query_fixture: a database with events to list, and listings walked to their end.
 */
#pragma once

#include "query/list.h"
#include "query/run.h"
#include "support/pg_fixture.h"

#define QUERY_FIXTURE_EVENTS 300
#define COLLECTOR_MAX_EVENTS 10000

/* Pages may be larger here than a daemon allows by default. */
extern const struct config_query query_fixture_config;

struct collector {
  struct list_query *query; /* NULL: rows aren't looked at */
  char ids[COLLECTOR_MAX_EVENTS][UUID_TEXT_LEN];
  int count;      /* of all pages */
  int page_count; /* of the last page */
  size_t packed_bytes;
  char token[PAGE_TOKEN_TEXT_LEN];
  size_t token_len;
  bool has_rows;
  bool is_done;
  bool is_gone; /* after it was abandoned */
  struct grpc_status *status;
};

/* pg_fixture_open(), the tables, the partitions of September to December 2026, and the events:
 * seven share each time, and the times lie on both sides of a month's end. Columns cycle through
 * few values each, with periods that have no common factor. */
void query_fixture_open(struct pg_fixture *f);

/* A run whose rows and end go to `c`. */
struct query_run query_fixture_run(struct pg_fixture *f, struct sql *sql, int64_t timeout_us,
                                   struct collector *c);

/* One page, which must succeed, added to `c`. */
void list_page(struct pg_fixture *f, const Auditstore__V1__ListEventsRequest *request,
               struct collector *c);

/* All pages, one after another. Returns how many there were. */
int list_all(struct pg_fixture *f, Auditstore__V1__ListEventsRequest *request, struct collector *c);

/* Compares with what PostgreSQL says to the same question, asked in other words. */
#define NEWEST "event_time DESC, ledger_id DESC, sequence DESC"
#define OLDEST "event_time, ledger_id, sequence"
void assert_same_as(struct pg_fixture *f, const struct collector *c, const char *where,
                    const char *order);

/* RFC 3339, and nanoseconds to add. */
Google__Protobuf__Timestamp timestamp_of(const char *text, int32_t more_nanos);
