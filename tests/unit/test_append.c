/*
 * Appending to a ledger, against a real PostgreSQL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ledger/rows.h"
#include "support/ledger_fixture.h"

static void a_ledger_is_made_once_and_starts_empty(void **state) {
  struct fixture *f = *state;
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 1);
  assert_int_equal(f->claim.edge.size, 0);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 1);
}

static void a_batch_takes_the_next_places_in_its_order(void **state) {
  struct fixture *f = *state;
  /* Ids in falling order, so that the rows' order differs from the batch's. */
  struct event events[4] = {sample_event(4), sample_event(3), sample_event(2), sample_event(1)};
  const struct append_item items[4] = {{.event = &events[0], .received_us = 1000},
                                       {.event = &events[1], .received_us = 2000},
                                       {.event = &events[2], .received_us = 3000},
                                       {.event = &events[3], .received_us = 4000}};
  claim_ledger(f, &f->claim);
  assert_true(append(f, items, 3));
  assert_true(append(f, &items[3], 1));
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.edge.size, 4);
  look_up(f, items, 4);
  assert_int_equal(f->match_count, 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(match_of(f, i)->place.ledger_id, 1);
    assert_int_equal(match_of(f, i)->place.sequence, i);
    assert_int_equal(match_of(f, i)->place.received_us, 1000 * (i + 1));
    assert_int_equal(match_of(f, i)->committed_us, COMMITTED_US);
    assert_true(match_of(f, i)->is_same);
  }
}

static void a_wrong_size_writes_nothing(void **state) {
  struct fixture *f = *state;
  struct event events[2] = {sample_event(1), sample_event(2)};
  const struct append_item items[2] = {{.event = &events[0], .received_us = 1000},
                                       {.event = &events[1], .received_us = 1000}};
  claim_ledger(f, &f->claim);
  struct claim before = f->claim;
  assert_true(append(f, items, 1));
  assert_false(append_by(f, &before, &items[1], 1));
  assert_true(append_is_stale(&f->outcome));
  claim_ledger(f, &f->claim);
  assert_int_equal(f->claim.edge.size, 1);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM audit_events"), 1);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledger_batches"), 1);
}

/* Of the right size, but of other events: the batch that ours was computed behind was written
 * differently. */
static void a_wrong_edge_writes_nothing(void **state) {
  struct fixture *f = *state;
  struct event events[2] = {sample_event(1), sample_event(2)};
  const struct append_item items[2] = {{.event = &events[0], .received_us = 1000},
                                       {.event = &events[1], .received_us = 1000}};
  claim_ledger(f, &f->claim);
  assert_true(append(f, items, 1));
  struct claim other = f->claim;
  other.edge.nodes[0].bytes[0] ^= 1;
  assert_false(append_by(f, &other, &items[1], 1));
  assert_true(append_is_stale(&f->outcome));
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM audit_events"), 1);
  assert_true(append(f, &items[1], 1));
}

static void a_refused_row_leaves_the_ledger_as_it_was(void **state) {
  struct fixture *f = *state;
  struct event event = sample_event(1);
  const struct append_item items[2] = {{.event = &event, .received_us = 1000},
                                       {.event = &event, .received_us = 1000}};
  claim_ledger(f, &f->claim);
  assert_false(append(f, items, 2));
  assert_int_equal(f->outcome.kind, PG_REFUSED);
  assert_string_equal(f->outcome.sqlstate, "23505");
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.edge.size, 0);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledger_batches"), 0);
}

static void a_missing_partition_is_a_check_violation_without_a_constraint(void **state) {
  struct fixture *f = *state;
  struct event event = sample_event(1);
  event.time_us = 0;
  claim_ledger(f, &f->claim);
  assert_false(append(f, &(struct append_item){.event = &event, .received_us = 1}, 1));
  assert_int_equal(f->outcome.kind, PG_REFUSED);
  assert_string_equal(f->outcome.sqlstate, "23514");
  assert_string_equal(f->outcome.constraint, "");
}

/* An event that differs from `event` in the column that `which` names. */
static struct event altered(const struct event *event, int which) {
  struct event e = *event;
  if (which < EVENT_TEXT_COUNT) {
    e.text[which] = which == EVENT_TEXT_EVENT_DATA ? str_z("{\"x\":1}") : str_z("other");
    return e;
  }
  switch (which - EVENT_TEXT_COUNT) {
  case 0:
    e.outcome = 2;
    break;
  case 1:
    e.severity = e.severity ? 0 : 3;
    break;
  case 2:
    e.actor_ip.bytes[0]++;
    e.actor_ip.length = 4;
    break;
  case 3:
    e.has_parent = !e.has_parent;
    break;
  case 4:
    e.duration_us++;
    break;
  case 5:
    e.retention_days++;
    break;
  default:
    e.is_sensitive = !e.is_sensitive;
  }
  return e;
}

static void the_lookup_compares_every_column(void **state) {
  struct fixture *f = *state;
  struct event events[2] = {sample_event(1), sample_event(2)};
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    if (i != EVENT_TEXT_EVENT_DATA)
      events[1].text[i] = str_z("text");
  }
  events[1].severity = 4;
  events[1].has_parent = true;
  events[1].duration_us = 0;
  events[1].actor_ip = (struct pg_inet){.length = 16, .bytes = {[15] = 1}};
  const struct append_item items[2] = {{.event = &events[0], .received_us = 1000},
                                       {.event = &events[1], .received_us = 2000}};
  claim_ledger(f, &f->claim);
  assert_true(append(f, items, 2));
  for (int i = 0; i < EVENT_TEXT_COUNT + 7; i++) {
    struct event other[2] = {altered(&events[0], i), altered(&events[1], i)};
    const struct append_item changed[2] = {{.event = &other[0], .received_us = 1},
                                           {.event = &other[1], .received_us = 1}};
    look_up(f, changed, 2);
    assert_int_equal(f->match_count, 2);
    assert_false(f->matches[0].is_same);
    assert_false(f->matches[1].is_same);
  }
  look_up(f, items, 2);
  assert_true(f->matches[0].is_same);
  assert_true(f->matches[1].is_same);
}

static void the_lookup_finds_by_id_and_time(void **state) {
  struct fixture *f = *state;
  struct event event = sample_event(1);
  struct event later = event;
  later.time_us++;
  claim_ledger(f, &f->claim);
  assert_true(append(f, &(struct append_item){.event = &event, .received_us = 1}, 1));
  struct event other = sample_event(2);
  const struct append_item items[3] = {{.event = &later, .received_us = 1},
                                       {.event = &other, .received_us = 1},
                                       {.event = &event, .received_us = 1}};
  look_up(f, items, 3);
  assert_int_equal(f->match_count, 1);
  assert_int_equal(f->matches[0].index, 2);
}

static void on_rows(void *arg, int statement, const PGresult *result) {
  struct fixture *f = arg;
  (void)statement;
  f->check_row(result);
}

static struct event everything;
static struct str writer;

static void check_everything(const PGresult *result) {
  struct stored_event stored;
  struct error err;
  assert_int_equal(PQntuples(result), 1);
  assert_int_equal(event_row_read(result, 0, &stored, &err), 0);
  assert_true(event_is_same(&stored.event, &everything));
  assert_int_equal(stored.place.received_us, 1234567);
  assert_int_equal(stored.place.ledger_id, 1);
  assert_int_equal(stored.place.sequence, 0);
  assert_true(str_equal(stored.place.principal, writer));
}

static void read_back(struct fixture *f) {
  char sql[4096];
  snprintf(sql, sizeof(sql), "SELECT %s FROM audit_events e", event_row_columns());
  const struct pg_statement statement = {.sql = sql};
  pg_send(f->conn, &statement, NULL);
  f->check_row = check_everything;
  run(f, on_rows);
  assert_ok(f);
}

static void an_event_reads_back_as_it_was_written(void **state) {
  struct fixture *f = *state;
  everything = sample_event(1);
  everything.outcome = 3;
  everything.severity = 8;
  everything.has_parent = true;
  everything.parent_id.bytes[0] = 0xAA;
  everything.duration_us = 0;
  everything.retention_days = 36500;
  everything.is_sensitive = true;
  everything.actor_ip = (struct pg_inet){.length = 16, .bytes = {0x20, 1, [15] = 9}};
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    everything.text[i] = str_z("\xC3\xA4 {} \\ \" ' , NULL");
  everything.text[EVENT_TEXT_EVENT_DATA] = str_z(" {\"b\" : 1.0,\t\"a\":\"\\u00e4\",\"b\":2}\n");
  writer = str_z("spiffe://prod/\xC3\xA4 \\ ' ,");
  claim_ledger(f, &f->claim);
  assert_true(append(
      f, &(struct append_item){.event = &everything, .received_us = 1234567, .principal = writer},
      1));
  read_back(f);
}

static void an_event_of_required_fields_reads_back(void **state) {
  struct fixture *f = *state;
  writer = str_z("");
  everything = sample_event(1);
  for (int i = EVENT_TEXT_EVENT_ACTION + 1; i < EVENT_TEXT_COUNT; i++)
    everything.text[i] = str_of(NULL, 0);
  everything.actor_ip = (struct pg_inet){.length = 4, .bytes = {10, 0, 0, 1}};
  claim_ledger(f, &f->claim);
  assert_true(append(f, &(struct append_item){.event = &everything, .received_us = 1234567}, 1));
  read_back(f);
}

#define CROWD 500

/* Many events of one instant: an index on the time alone would have to read them all. */
static void the_lookup_uses_the_primary_key(void **state) {
  struct fixture *f = *state;
  struct event events[CROWD];
  struct append_item items[CROWD];
  for (int i = 0; i < CROWD; i++) {
    events[i] = sample_event(i);
    events[i].time_us = events[0].time_us;
    items[i] = (struct append_item){.event = &events[i], .received_us = 1};
  }
  claim_ledger(f, &f->claim);
  assert_true(append(f, items, CROWD));
  PQclear(store_query(&f->store, "ANALYZE audit_events"));
  PQclear(store_query(&f->store, "SELECT pg_stat_reset()"));
  for (int i = 0; i < 10; i++)
    look_up(f, &items[i], MAX_MATCHES);
  pg_send(f->conn, &(struct pg_statement){.sql = "SELECT pg_stat_force_next_flush()"}, NULL);
  run(f, NULL);
  assert_int_equal(store_number(&f->store,
                                "SELECT sum(idx_scan) FROM pg_stat_user_indexes"
                                " WHERE indexrelname LIKE 'audit\\_events%pkey'"),
                   10 * MAX_MATCHES);
  assert_int_equal(store_number(&f->store,
                                "SELECT sum(seq_scan) FROM pg_stat_user_tables"
                                " WHERE relname LIKE 'audit\\_events\\_2%'"),
                   0);
}

/* Whoever sends an event again, it is the first one's. */
static void each_event_of_a_batch_has_its_own_writer(void **state) {
  struct fixture *f = *state;
  struct event events[3] = {sample_event(3), sample_event(2), sample_event(1)};
  const struct append_item items[3] = {
      {.event = &events[0], .received_us = 1, .principal = str_z("cn:a")},
      {.event = &events[1], .received_us = 1},
      {.event = &events[2], .received_us = 1, .principal = str_z("cn:c")}};
  const struct append_item again = {
      .event = &events[0], .received_us = 2, .principal = str_z("cn:other")};
  claim_ledger(f, &f->claim);
  assert_true(append(f, items, 3));
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM audit_events WHERE principal IS NOT DISTINCT"
                                " FROM (ARRAY['cn:a', NULL, 'cn:c'])[sequence + 1]"),
                   3);
  assert_false(append(f, &again, 1));
  look_up(f, &again, 1);
  assert_int_equal(f->match_count, 1);
  assert_true(f->matches[0].is_same);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_setup, ledger_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_ledger_is_made_once_and_starts_empty),
      TEST(a_batch_takes_the_next_places_in_its_order),
      TEST(a_wrong_size_writes_nothing),
      TEST(a_wrong_edge_writes_nothing),
      TEST(a_refused_row_leaves_the_ledger_as_it_was),
      TEST(a_missing_partition_is_a_check_violation_without_a_constraint),
      TEST(the_lookup_compares_every_column),
      TEST(the_lookup_finds_by_id_and_time),
      TEST(an_event_reads_back_as_it_was_written),
      TEST(each_event_of_a_batch_has_its_own_writer),
      TEST(an_event_of_required_fields_reads_back),
      TEST(the_lookup_uses_the_primary_key),
  };
  return cmocka_run_group_tests(tests, ledger_group_setup, ledger_group_teardown);
}
