/*
 * Listing events: pages and filters, against a real PostgreSQL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/query_fixture.h"

#define ARENA_BYTES ((size_t)1024 * 1024)

/* ---- pages ---- */

static void pages_hold_every_event_once_in_either_order(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  static const int sizes[] = {1, 2, 6, 7, 8, 50, 299, 300, 301};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.page_size = sizes[i];
    int pages = list_all(f, &request, &c);
    assert_int_equal(pages, (QUERY_FIXTURE_EVENTS + sizes[i] - 1) / sizes[i]);
    assert_same_as(f, &c, "true", NEWEST);
    request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
    pages = list_all(f, &request, &c);
    assert_int_equal(pages, (QUERY_FIXTURE_EVENTS + sizes[i] - 1) / sizes[i]);
    assert_same_as(f, &c, "true", OLDEST);
  }
}

static void the_page_size_has_a_default_and_a_maximum(void **state) {
  (void)state;
  static const struct config_query config = {.default_page_size = 30, .max_page_size = 70};
  static const int asked[] = {0, 1, 70, 71, INT32_MAX};
  static const int got[] = {30, 1, 70, 70, 70};
  for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.page_size = asked[i];
    struct list_query query;
    assert_null(list_query_init(&query, &request, &config));
    assert_int_equal(query.page_size, got[i]);
    list_query_deinit(&query);
  }
}

static void a_page_token_may_be_used_with_another_page_size(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  c = (struct collector){.count = 0};
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 10;
  list_page(f, &request, &c);
  request.page_size = 1000;
  request.page_token = (ProtobufCBinaryData){.len = c.token_len, .data = (uint8_t *)c.token};
  list_page(f, &request, &c);
  assert_int_equal(c.token_len, 0);
  assert_same_as(f, &c, "true", NEWEST);
}

static void events_that_arrive_between_pages_disturb_nothing(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  c = (struct collector){.count = 0};
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 150;
  list_page(f, &request, &c);
  pg_observer_run(f->observer,
                  "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, "
                  "sequence, event_type, event_category, event_action, outcome) SELECT "
                  "gen_random_uuid(), '2026-11-30 00:00:00+00', now(), 2, i, 'late', 'c', 'a', 1 "
                  "FROM generate_series(1, 20) i");
  request.page_token = (ProtobufCBinaryData){.len = c.token_len, .data = (uint8_t *)c.token};
  list_page(f, &request, &c);
  assert_int_equal(c.token_len, 0);
  assert_same_as(f, &c, "event_type <> 'late'", NEWEST);
}

/* ---- events of one time ---- */

#define TIED_EVENTS 700

/* Ids say nothing of the order in which they were written, to three ledgers in turn. */
#define INSERT_TIED(type, first, last, time)                                                       \
  "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence, event_type, " \
  " event_category, event_action, outcome) "                                                       \
  "SELECT md5('" type "' || i)::uuid, " time ", now(), 1 + i % 3, i / 3, '" type                   \
  "', 'c', 'a', 1 FROM generate_series(" #first ", " #last ") i;"
#define TIE "timestamptz '2026-11-02 00:00:00+00'"

static const int tied_sizes[] = {17, 23, 33, 64, 99, 100, 101, 233, 349, 350, 700, 701};
#define TIED_SIZES (sizeof(tied_sizes) / sizeof(tied_sizes[0]))

static void events_of_one_time_follow_their_ledger_across_pages(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  pg_observer_run(f->observer, "DELETE FROM audit_events;" INSERT_TIED("tied", 0, 699, TIE));
  for (size_t i = 0; i < TIED_SIZES; i++) {
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.page_size = tied_sizes[i];
    int pages = list_all(f, &request, &c);
    assert_int_equal(pages, (TIED_EVENTS + tied_sizes[i] - 1) / tied_sizes[i]);
    assert_same_as(f, &c, "true", NEWEST);
    request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
    list_all(f, &request, &c);
    assert_same_as(f, &c, "true", OLDEST);
  }
}

/* Of the events that were there from the start, none is missing and none comes twice; of those that
 * are written meanwhile, at the same time and around it, whatever lies ahead. */
static void assert_has_all_tied(const struct collector *c, struct pg_fixture *f,
                                const char *order) {
  static struct collector tied;
  tied.count = 0;
  PGresult *result = PQexec(f->observer,
                            "SELECT event_id FROM audit_events WHERE event_type = "
                            "'tied'");
  for (int i = 0; i < c->count; i++) {
    for (int row = 0; row < PQntuples(result); row++) {
      if (memcmp(PQgetvalue(result, row, 0), c->ids[i], UUID_TEXT_LEN) == 0)
        memcpy(tied.ids[tied.count++], c->ids[i], UUID_TEXT_LEN);
    }
  }
  PQclear(result);
  assert_same_as(f, &tied, "event_type = 'tied'", order);
}

static void list_while_events_arrive(struct pg_fixture *f, struct collector *c,
                                     Auditstore__V1__ListEventsRequest *request) {
  pg_observer_run(f->observer, "DELETE FROM audit_events;" INSERT_TIED("tied", 0, 699, TIE));
  *c = (struct collector){.count = 0};
  int pages = 0;
  do {
    request->page_token = (ProtobufCBinaryData){.len = c->token_len, .data = (uint8_t *)c->token};
    list_page(f, request, c);
    if (pages++ < 3)
      pg_observer_run(f->observer, pages == 1 ? INSERT_TIED("tied too", 700, 709, TIE)
                                   : pages == 2
                                       ? INSERT_TIED("before", 710, 719, TIE " - interval '1 us'")
                                       : INSERT_TIED("after", 720, 729, TIE " + interval '1 us'"));
  } while (c->token_len > 0);
}

static void events_of_one_time_are_listed_once_while_others_arrive(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  for (size_t i = 0; i < TIED_SIZES; i++) {
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.page_size = tied_sizes[i];
    list_while_events_arrive(f, &c, &request);
    assert_has_all_tied(&c, f, NEWEST);
    request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
    list_while_events_arrive(f, &c, &request);
    assert_has_all_tied(&c, f, OLDEST);
  }
}

/* How PostgreSQL would run a request's statement. */
static void explain(struct pg_fixture *f, const Auditstore__V1__ListEventsRequest *request,
                    char *ret_plan, size_t size) {
  struct list_query query;
  assert_null(list_query_init(&query, request, &query_fixture_config));
  const struct pg_statement *statement = sql_statement(&query.sql);
  struct pg_params params = sql_params(&query.sql);
  char *sql = malloc(SQL_MAX_TEXT_BYTES + 100);
  int formats[SQL_MAX_PARAMS];
  for (int i = 0; i < SQL_MAX_PARAMS; i++)
    formats[i] = 1;
  (void)snprintf(sql, SQL_MAX_TEXT_BYTES + 100, "EXPLAIN (COSTS OFF) %s", statement->sql);
  PGresult *result = PQexecParams(f->observer, sql, statement->param_count, statement->param_types,
                                  params.values, params.lengths, formats, 0);
  assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
  size_t len = 0;
  for (int row = 0; row < PQntuples(result) && len < size; row++)
    len += (size_t)snprintf(ret_plan + len, size - len, "%s\n", PQgetvalue(result, row, 0));
  assert_true(len < size);
  PQclear(result);
  free(sql);
  list_query_deinit(&query);
}

static void assert_plan(struct pg_fixture *f, Auditstore__V1__ListEventsRequest *request,
                        const char *scan, const char *unread) {
  static char plan[16384];
  explain(f, request, plan, sizeof(plan));
  if (!strstr(plan, scan) || strstr(plan, "Sort") || strstr(plan, "Seq Scan") ||
      strstr(plan, unread))
    fail_msg("%s", plan);
}

static void the_index_gives_the_order_in_both_directions(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  pg_observer_run(f->observer, "DELETE FROM audit_events;" INSERT_TIED(
                                   "many", 0, 8999,
                                   "timestamptz '2026-10-30 00:00:00+00' + i / 9 * interval '9 "
                                   "min'") "ANALYZE audit_events");
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 10;
  assert_plan(f, &request, "Index Scan Backward", "nothing");
  c = (struct collector){.count = 0};
  list_page(f, &request, &c);
  request.page_token = (ProtobufCBinaryData){.len = c.token_len, .data = (uint8_t *)c.token};
  assert_plan(f, &request, "Index Scan Backward", "audit_events_2026_12");
  request.page_token.len = 0;
  request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
  assert_plan(f, &request, "Index Scan using", "Backward");
  c = (struct collector){.count = 0};
  list_page(f, &request, &c);
  request.page_token = (ProtobufCBinaryData){.len = c.token_len, .data = (uint8_t *)c.token};
  assert_plan(f, &request, "Index Scan using", "audit_events_2026_09");
}

/* ---- how large a page is ---- */

/* So many events in place of all, numbered i; `columns` have `values` in each. */
static void put_events(struct pg_fixture *f, const char *columns, const char *values, int count) {
  char sql[1024];
  int len =
      snprintf(sql, sizeof(sql),
               "DELETE FROM audit_events;"
               "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence, "
               " event_category, outcome, %s) "
               "SELECT md5(i::text)::uuid, '2026-11-02 00:00:00+00', now(), 1, i, 'c', 2, %s "
               "FROM generate_series(1, %d) i",
               columns, values, count);
  assert_in_range(len, 0, sizeof(sql) - 1);
  pg_observer_run(f->observer, sql);
}

static void a_page_of_large_events_ends_before_clients_refuse_it(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  put_events(f, "event_type, event_action, error_message, event_data",
             "'t', 'a', repeat('e', 4096), ('{\"x\":\"' || repeat('y', 262134) || '\"}')::json",
             40);
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 1000;
  list_page(f, &request, &c);
  assert_in_range(c.packed_bytes, LIST_PAGE_MAX_BYTES - 270000, LIST_PAGE_MAX_BYTES);
  assert_int_equal(list_all(f, &request, &c), (40 + 12) / 13);
  assert_same_as(f, &c, "true", NEWEST);
}

/* As large as the contract has it; one more would pass what clients take. */
static void a_page_of_the_largest_events_holds_three_of_them(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  put_events(f, "event_type, event_action, error_message, event_data",
             "repeat('t', 255), repeat('a', 255), repeat('e', 4096), "
             "('{\"x\":\"' || repeat('y', 1048568) || '\"}')::json",
             10);
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 1000;
  assert_in_range(list_all(f, &request, &c), 4, 5);
  assert_same_as(f, &c, "true", NEWEST);
  request.page_size = 1;
  assert_int_equal(list_all(f, &request, &c), 10);
  assert_same_as(f, &c, "true", NEWEST);
  assert_in_range(c.packed_bytes, 1048576, 4 * 1024 * 1024);
}

/* Many events of a few kilobytes: here the packed size decides, not PostgreSQL's estimate. */
static void a_page_of_middling_events_ends_in_time_too(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  put_events(f,
             "event_type, event_action, actor_id, resource_id, namespace, cluster, correlation_id, "
             "resource_name, event_data",
             "'t', 'a', repeat('a', 255), repeat('b', 255), repeat('c', 253), repeat('d', 255), "
             "repeat('e', 255), repeat('f', 255), "
             "('{\"x\":\"' || repeat('y', 3000 + i) || '\"}')::json",
             1500);
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 1000;
  request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
  list_page(f, &request, &c);
  assert_in_range(c.packed_bytes, LIST_PAGE_MAX_BYTES - 8000, LIST_PAGE_MAX_BYTES);
  list_all(f, &request, &c);
  assert_same_as(f, &c, "true", OLDEST);
}

/* Here PostgreSQL's estimate ends the page, long before the packed size does. */
static void a_page_of_very_many_small_events_ends_early_too(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  put_events(f, "event_type, event_action", "'t', 'a'", 9000);
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.page_size = 10000;
  assert_int_equal(list_all(f, &request, &c), 2);
  assert_same_as(f, &c, "true", NEWEST);
}

static void assert_token_refused(const Auditstore__V1__ListEventsRequest *request) {
  struct list_query query;
  struct grpc_status *status = list_query_init(&query, request, &query_fixture_config);
  assert_non_null(status);
  assert_int_equal(grpc_status_code(status), GRPC_INVALID_ARGUMENT);
  assert_int_equal(grpc_status_violation_count(status), 1);
  grpc_status_free(status);
}

static void a_token_is_good_for_its_filter_and_order_alone(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  c = (struct collector){.count = 0};
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  ProtobufCBinaryData value = {.len = 6, .data = (uint8_t *)"type-1"};
  filter.event_types = &value;
  filter.n_event_types = 1;
  request.filter = &filter;
  request.page_size = 10;
  list_page(f, &request, &c);
  request.page_token = (ProtobufCBinaryData){.len = c.token_len, .data = (uint8_t *)c.token};
  request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
  assert_token_refused(&request);
  request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_NEWEST_FIRST;
  list_page(f, &request, &c);
  value.data = (uint8_t *)"type-0";
  assert_token_refused(&request);
  request.filter = NULL;
  assert_token_refused(&request);
}

/* ---- filters ---- */

/* Sets a repeated text field of the filter, by its name, to the words of `values`. */
static void set_texts(Auditstore__V1__EventFilter *filter, const char *field, const char *values,
                      struct arena *arena) {
  const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field_by_name(
      &auditstore__v1__event_filter__descriptor, field);
  assert_non_null(d);
  ProtobufCBinaryData *list = arena_calloc(arena, 10, sizeof(*list));
  size_t count = 0;
  for (const char *at = values; *at; at += strspn(at, " ")) {
    size_t len = strcspn(at, " ");
    list[count++] = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)at};
    at += len;
  }
  *(size_t *)(void *)((char *)filter + d->quantifier_offset) = count;
  *(ProtobufCBinaryData **)(void *)((char *)filter + d->offset) = list;
}

struct text_case {
  const char *field;
  const char *values;
  const char *where;
};
static const struct text_case text_cases[] = {
    {"correlation_ids", "corr-3", "correlation_id = 'corr-3'"},
    {"correlation_ids", "corr-3 corr-9 none", "correlation_id IN ('corr-3', 'corr-9')"},
    {"actor_types", "at-1", "actor_type = 'at-1'"},
    {"actor_types", "at-1 at-6", "actor_type IN ('at-1', 'at-6')"},
    {"actor_ids", "actor-10", "actor_id = 'actor-10'"},
    {"actor_ids", "actor-1 actor-2 actor-3", "actor_id IN ('actor-1', 'actor-2', 'actor-3')"},
    {"actor_ids", "actor-0", "false"},
    {"resource_types", "rt-12", "resource_type = 'rt-12'"},
    {"resource_types", "rt-12 rt-0", "resource_type IN ('rt-0', 'rt-12')"},
    {"resource_ids", "res-2", "resource_id = 'res-2'"},
    {"resource_ids", "res-2 res-3", "resource_id IN ('res-2', 'res-3')"},
    {"event_types", "type-1", "event_type = 'type-1'"},
    {"event_types", "type-0 type-1", "true"},
    {"event_categories", "category-2", "event_category = 'category-2'"},
    {"event_categories", "category-2 category-0", "event_category IN ('category-0', 'category-2')"},
    {"event_actions", "action-4", "event_action = 'action-4'"},
    {"event_actions", "action-4 action-0", "event_action IN ('action-0', 'action-4')"},
    {"namespaces", "ns-0", "namespace = 'ns-0'"},
    {"namespaces", "ns-0 ns-2", "namespace IN ('ns-0', 'ns-2')"},
    {"clusters", "cl-1", "cluster = 'cl-1'"},
    {"clusters", "cl-1 cl-0", "true"},
    {"clusters", "'cl-1'||'", "false"},
    {"principals", "cn:1", "principal = 'cn:1'"},
    {"principals", "cn:5 cn:2 cn:0", "principal IN ('cn:2', 'cn:5')"},
};
#define TEXT_CASES (sizeof(text_cases) / sizeof(text_cases[0]))

static void each_text_filter_selects_its_events(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  for (size_t i = 0; i < TEXT_CASES; i++) {
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.filter = &filter;
    request.page_size = 17;
    set_texts(&filter, text_cases[i].field, text_cases[i].values, &arena);
    list_all(f, &request, &c);
    assert_same_as(f, &c, text_cases[i].where, NEWEST);
    arena_deinit(&arena);
  }
}

/* Every pair of fields, and so a hundred ways to number the parameters. */
static void filters_combine(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  for (size_t i = 0; i < TEXT_CASES; i++) {
    for (size_t k = i + 1; k < TEXT_CASES; k++) {
      if (strcmp(text_cases[i].field, text_cases[k].field) == 0)
        continue;
      struct arena arena;
      char where[300];
      arena_init(&arena, ARENA_BYTES);
      Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
      Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
      request.filter = &filter;
      set_texts(&filter, text_cases[i].field, text_cases[i].values, &arena);
      set_texts(&filter, text_cases[k].field, text_cases[k].values, &arena);
      (void)snprintf(where, sizeof(where), "%s AND %s", text_cases[i].where, text_cases[k].where);
      list_all(f, &request, &c);
      assert_same_as(f, &c, where, NEWEST);
      arena_deinit(&arena);
    }
  }
}

static void outcomes_and_severities_select_their_events(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  Auditstore__V1__Outcome outcomes[] = {AUDITSTORE__V1__OUTCOME__OUTCOME_UNKNOWN,
                                        AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS};
  Auditstore__V1__Severity severities[] = {AUDITSTORE__V1__SEVERITY__SEVERITY_DEBUG,
                                           AUDITSTORE__V1__SEVERITY__SEVERITY_EMERGENCY};
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.filter = &filter;
  filter.outcomes = outcomes;
  filter.n_outcomes = 1;
  list_all(f, &request, &c);
  assert_same_as(f, &c, "outcome = 4", NEWEST);
  filter.n_outcomes = 2;
  list_all(f, &request, &c);
  assert_same_as(f, &c, "outcome IN (1, 4)", NEWEST);
  filter.severities = severities;
  filter.n_severities = 2;
  list_all(f, &request, &c);
  assert_same_as(f, &c, "outcome IN (1, 4) AND severity IN (1, 8)", NEWEST);
}

static void the_start_is_within_and_the_end_is_not(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  struct {
    const char *start, *end, *where;
    int32_t start_nanos, end_nanos;
  } cases[] = {
      {"2026-10-31T23:59:45Z", NULL, "event_time >= '2026-10-31 23:59:45+00'", 0, 0},
      {NULL, "2026-11-01T00:00:05Z", "event_time < '2026-11-01 00:00:05+00'", 0, 0},
      {"2026-10-31T23:59:50Z", "2026-11-01T00:00:00Z",
       "event_time >= '2026-10-31 23:59:50+00' AND event_time < '2026-11-01 00:00:00+00'", 0, 0},
      /* A nanosecond later leaves out what happened on the second, or takes it in. */
      {"2026-10-31T23:59:50Z", "2026-11-01T00:00:00Z",
       "event_time > '2026-10-31 23:59:50+00' AND event_time <= '2026-11-01 00:00:00+00'", 1, 1},
      {"0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "true", 0, 999},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    Google__Protobuf__Timestamp start;
    Google__Protobuf__Timestamp end;
    Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
    Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
    request.filter = &filter;
    request.page_size = 10;
    request.order = AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST;
    if (cases[i].start) {
      start = timestamp_of(cases[i].start, cases[i].start_nanos);
      filter.start_time = &start;
    }
    if (cases[i].end) {
      end = timestamp_of(cases[i].end, cases[i].end_nanos);
      filter.end_time = &end;
    }
    list_all(f, &request, &c);
    assert_same_as(f, &c, cases[i].where, OLDEST);
  }
}

static void a_full_filter_fits(void **state) {
  struct pg_fixture *f = *state;
  static struct collector c;
  static char text[FILTER_MAX_VALUES][100];
  ProtobufCBinaryData values[FILTER_MAX_VALUES];
  Auditstore__V1__Outcome outcomes[FILTER_MAX_VALUES];
  Auditstore__V1__Severity severities[FILTER_MAX_VALUES];
  for (int i = 0; i < FILTER_MAX_VALUES; i++) {
    memset(text[i], 'a' + i % 26, sizeof(text[i]));
    values[i] = (ProtobufCBinaryData){.len = i == 0 ? 6 : 50, .data = (uint8_t *)text[i]};
    outcomes[i] = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
    severities[i] = AUDITSTORE__V1__SEVERITY__SEVERITY_INFO;
  }
  Google__Protobuf__Timestamp start = timestamp_of("2026-01-01T00:00:00Z", 0);
  Google__Protobuf__Timestamp end = timestamp_of("2027-01-01T00:00:00Z", 0);
  Auditstore__V1__EventFilter filter = AUDITSTORE__V1__EVENT_FILTER__INIT;
  filter.start_time = &start;
  filter.end_time = &end;
#define SET_ALL(field, list) (filter.field = (list), filter.n_##field = FILTER_MAX_VALUES)
  SET_ALL(correlation_ids, values);
  SET_ALL(actor_types, values);
  SET_ALL(actor_ids, values);
  SET_ALL(resource_types, values);
  SET_ALL(resource_ids, values);
  SET_ALL(event_types, values);
  SET_ALL(event_categories, values);
  SET_ALL(event_actions, values);
  SET_ALL(namespaces, values);
  SET_ALL(clusters, values);
  SET_ALL(outcomes, outcomes);
  SET_ALL(severities, severities);
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.filter = &filter;
  struct page_token token = {.is_newest_first = true, .last = {.time_us = 1, .ledger_id = 1}};
  char token_text[PAGE_TOKEN_TEXT_LEN];
  filter_fingerprint(&filter, token.filter);
  page_token_format(&token, token_text);
  request.page_token =
      (ProtobufCBinaryData){.len = sizeof(token_text), .data = (uint8_t *)token_text};
  c = (struct collector){.count = 0};
  list_page(f, &request, &c);
  assert_int_equal(c.count, 0);
}

/* ---- frame ---- */

static int setup(void **state) {
  query_fixture_open(*state);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pg_fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(pages_hold_every_event_once_in_either_order),
      cmocka_unit_test(the_page_size_has_a_default_and_a_maximum),
      TEST(a_page_token_may_be_used_with_another_page_size),
      TEST(events_that_arrive_between_pages_disturb_nothing),
      TEST(events_of_one_time_follow_their_ledger_across_pages),
      TEST(events_of_one_time_are_listed_once_while_others_arrive),
      TEST(the_index_gives_the_order_in_both_directions),
      TEST(a_page_of_large_events_ends_before_clients_refuse_it),
      TEST(a_page_of_the_largest_events_holds_three_of_them),
      TEST(a_page_of_middling_events_ends_in_time_too),
      TEST(a_page_of_very_many_small_events_ends_early_too),
      TEST(a_token_is_good_for_its_filter_and_order_alone),
      TEST(each_text_filter_selects_its_events),
      TEST(filters_combine),
      TEST(outcomes_and_severities_select_their_events),
      TEST(the_start_is_within_and_the_end_is_not),
      TEST(a_full_filter_fits),
  };
  return cmocka_run_group_tests(tests, pg_fixture_group_setup, pg_fixture_group_teardown);
}
