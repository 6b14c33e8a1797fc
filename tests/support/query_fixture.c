#include "support/query_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timestamp.h"
#include "ledger/partitions.h"

const struct config_query query_fixture_config = {.default_page_size = 100,
                                                  .max_page_size = 20000,
                                                  .timeout_us = 5000000,
                                                  .max_running = 10,
                                                  .max_running_per_principal = 10,
                                                  .max_unindexed = 10,
                                                  .unindexed_timeout_us = 5000000,
                                                  .max_waiting = 1000};

/* ---- running ---- */

static void take_page(struct collector *c, const Auditstore__V1__ListEventsResponse *response) {
  for (size_t i = 0; i < response->n_events; i++) {
    assert_true(c->count < COLLECTOR_MAX_EVENTS);
    assert_int_equal(response->events[i]->event->event_id.len, UUID_TEXT_LEN);
    memcpy(c->ids[c->count++], response->events[i]->event->event_id.data, UUID_TEXT_LEN);
  }
  c->page_count = (int)response->n_events;
  c->packed_bytes = auditstore__v1__list_events_response__get_packed_size(response);
  c->token_len = response->next_page_token.len;
  if (c->token_len > 0)
    memcpy(c->token, response->next_page_token.data, sizeof(c->token));
}

static void on_rows(void *arg, const PGresult *result) {
  struct collector *c = arg;
  c->has_rows = true;
  if (!c->query)
    return;
  struct arena arena;
  arena_init(&arena, list_arena_bytes(c->query));
  Auditstore__V1__ListEventsResponse response = AUDITSTORE__V1__LIST_EVENTS_RESPONSE__INIT;
  struct error err = {.code = ERR_OK};
  int rc = list_read(c->query, result, &arena, &response, &err);
  assert_string_equal(err.text, "");
  assert_int_equal(rc, 0);
  take_page(c, &response);
  arena_deinit(&arena);
}

static void on_end(void *arg, struct grpc_status *status) {
  struct collector *c = arg;
  assert_false(c->is_done);
  c->is_done = true;
  c->status = status;
}

static void on_gone(void *arg) {
  struct collector *c = arg;
  assert_false(c->is_gone);
  c->is_gone = true;
}

struct query_run query_fixture_run(struct pg_fixture *f, struct sql *sql, int64_t timeout_us,
                                   struct collector *c) {
  return (struct query_run){.loop = &f->loop,
                            .sql = sql,
                            .deadline_us = clock_monotonic_us(&f->clock) + timeout_us,
                            .on_rows = on_rows,
                            .advice = "query.timeout",
                            .on_end = on_end,
                            .on_gone = on_gone,
                            .arg = c};
}

void list_page(struct pg_fixture *f, const Auditstore__V1__ListEventsRequest *request,
               struct collector *c) {
  struct list_query query;
  struct grpc_status *status = list_query_init(&query, request, &query_fixture_config);
  if (status)
    fail_msg("%s", grpc_status_message(status));
  c->query = &query;
  c->is_done = false;
  struct query_run run = query_fixture_run(f, &query.sql, query_fixture_config.timeout_us, c);
  query_run_start(&run, f->pool, "test");
  assert_false(c->is_done);
  pg_fixture_run_until(f, &c->is_done);
  if (c->status)
    fail_msg("%s", grpc_status_message(c->status));
  list_query_deinit(&query);
}

int list_all(struct pg_fixture *f, Auditstore__V1__ListEventsRequest *request,
             struct collector *c) {
  *c = (struct collector){.count = 0};
  int pages = 0;
  do {
    request->page_token = (ProtobufCBinaryData){.len = c->token_len, .data = (uint8_t *)c->token};
    list_page(f, request, c);
    pages++;
  } while (c->token_len > 0);
  request->page_token = (ProtobufCBinaryData){.len = 0};
  return pages;
}

void assert_same_as(struct pg_fixture *f, const struct collector *c, const char *where,
                    const char *order) {
  char sql[1000];
  (void)snprintf(sql, sizeof(sql), "SELECT event_id FROM audit_events WHERE %s ORDER BY %s", where,
                 order);
  PGresult *result = PQexec(f->observer, sql);
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", sql, PQerrorMessage(f->observer));
  if (PQntuples(result) != c->count)
    fail_msg("%s: %d events instead of %d", where, c->count, PQntuples(result));
  for (int i = 0; i < c->count; i++) {
    if (memcmp(PQgetvalue(result, i, 0), c->ids[i], UUID_TEXT_LEN) != 0)
      fail_msg("%s: event %d is another", where, i);
  }
  PQclear(result);
}

/* ---- events ---- */

static void insert_events(struct pg_fixture *f) {
  pg_observer_run(
      f->observer,
      "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence, "
      " event_type, event_category, event_action, outcome, severity, actor_type, actor_id, "
      " resource_type, resource_id, namespace, cluster, correlation_id, event_data, principal) "
      "SELECT md5(i::text)::uuid, timestamptz '2026-10-31 23:59:40+00' + i / 7 * interval '1 s', "
      " now(), 1, i, 'type-' || i % 2, 'category-' || i % 3, 'action-' || i % 5, 1 + i % 4, "
      " nullif(i % 9, 0), 'at-' || i % 7, nullif('actor-' || i % 11, 'actor-0'), 'rt-' || i % 13, "
      " 'res-' || i % 4, 'ns-' || i % 3, 'cl-' || i % 2, 'corr-' || i / 30, '{}', nullif('cn:' || "
      "i % 6, 'cn:0') "
      "FROM generate_series(0, 299) i");
}

static void on_partition(void *arg, const struct error *err) {
  assert_null(err);
  *(bool *)arg = true;
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

static void make_partitions(struct pg_fixture *f) {
  static const struct config_storage storage = {
      .max_partitions = 1000, .partitions_ahead = 0, .partition_check_every_us = 3600LL * 1000000};
  struct partitions *p = partitions_new(&f->loop, f->pool, &storage);
  for (int month = 2026 * 12 + 8; month <= 2026 * 12 + 11; month++) {
    bool is_done = false;
    partitions_ensure(p, month, pg_fixture_deadline(f), on_partition, &is_done);
    pg_fixture_run_until(f, &is_done);
  }
  bool is_closed = false;
  partitions_close(p, set_flag, &is_closed);
  pg_fixture_run_until(f, &is_closed);
}

void query_fixture_open(struct pg_fixture *f) {
  pg_fixture_open(f);
  pg_fixture_migrate(f);
  make_partitions(f);
  insert_events(f);
}

Google__Protobuf__Timestamp timestamp_of(const char *text, int32_t more_nanos) {
  Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  int64_t us = 0;
  assert_true(timestamp_parse(str_z(text), &us));
  t.seconds = us / 1000000;
  t.nanos = (int32_t)(us % 1000000) * 1000 + more_nanos;
  return t;
}
