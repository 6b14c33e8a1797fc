#include "support/ledger_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/timestamp.h"

/* ---- the connection, one step at a time ---- */

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct fixture *f = arg;
  if (err)
    f->error = *err;
  f->conn = conn;
  f->is_done = true;
}

static void on_ensured(void *arg, const struct error *err) {
  struct fixture *f = arg;
  if (err)
    f->error = *err;
  f->is_done = true;
}

static void wait_done(struct fixture *f) {
  store_run_until(&f->store, &f->is_done);
  f->is_done = false;
}

static int64_t in_ten_seconds(struct fixture *f) {
  return clock_monotonic_us(f->store.loop.clock) + 10LL * 1000 * 1000;
}

int ledger_group_setup(void **state) {
  struct fixture *f = xcalloc(1, sizeof(*f));
  *state = f;
  store_start(&f->store);
  return 0;
}

int ledger_group_teardown(void **state) {
  struct fixture *f = *state;
  store_remove(&f->store);
  free(f);
  return 0;
}

int ledger_setup(void **state) {
  struct fixture *f = *state;
  store_open(&f->store);
  f->appender = appender_new();
  claim_init(&f->claim);
  seal_init(&f->seal);
  f->signer = (struct checkpoint_signer){.origin = "test"};
  f->memory = ledger_memory_new(&f->store.loop);
  f->compares = false;
  f->first_new_id = 1;
  f->error = (struct error){0};
  f->match_count = 0;
  partitions_ensure(f->store.partitions, timestamp_month(clock_wall_us(f->store.loop.clock)),
                    in_ten_seconds(f), on_ensured, f);
  wait_done(f);
  assert_string_equal(f->error.text, "");
  pg_acquire(f->store.pool, in_ten_seconds(f), "test", on_acquired, f);
  wait_done(f);
  assert_non_null(f->conn);
  return 0;
}

static void on_memory_closed(void *arg, const struct error *err) {
  (void)err;
  struct fixture *f = arg;
  f->is_done = true;
}

int ledger_teardown(void **state) {
  struct fixture *f = *state;
  pg_release(f->conn);
  ledger_memory_close(f->memory, on_memory_closed, f);
  wait_done(f);
  appender_free(f->appender);
  seal_deinit(&f->seal);
  store_close(&f->store);
  return 0;
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct fixture *f = arg;
  f->outcome = *outcome;
  f->is_done = true;
}

void run(struct fixture *f, void (*on_result)(void *arg, int statement, const PGresult *result)) {
  const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  pg_run(f->conn, in_ten_seconds(f), &cb, f);
  wait_done(f);
}

void assert_ok(const struct fixture *f) {
  if (f->outcome.kind != PG_OK)
    fail_msg("%s: %s", f->outcome.sqlstate, f->outcome.err.text);
}

/* ---- the operations ---- */

static void on_claimed(void *arg, int statement, const PGresult *result) {
  struct fixture *f = arg;
  const struct claim_judge judge = {
      .signer = &f->signer, .hasher = f->seal.hasher, .memory = f->memory};
  assert_int_equal(claim_read(&f->answer, statement, result, &judge, &f->error), 0);
}

enum claim_verdict claim_ledger(struct fixture *f, struct claim *claim) {
  f->answer = (struct claim_answer){.verdict = CLAIM_RACED};
  claim_send(f->conn, claim, LEASE_US, f->first_new_id);
  run(f, on_claimed);
  assert_ok(f);
  if (f->answer.verdict == CLAIM_HELD) {
    claim->ledger_id = f->answer.ledger_id;
    claim->edge = f->answer.edge;
    claim->committed_us = f->answer.committed_us;
    claim->fingerprint = f->answer.surroundings.fingerprint;
  }
  return f->answer.verdict;
}

bool append_by(struct fixture *f, struct claim *claim, const struct append_item *items, int count) {
  append_send_events(f->appender, f->conn, claim, items, count);
  seal_make(&f->seal, claim, &(struct seal_batch){items, count, COMMITTED_US});
  append_send_advance(f->appender, f->conn, claim, &f->seal, LEASE_US);
  seal_sign(&f->seal, claim->ledger_id, &f->signer);
  append_send_record(f->appender, f->conn, claim, &f->seal);
  if (f->compares)
    append_send_compare(f->appender, f->conn, claim, &f->seal, items);
  run(f, NULL);
  if (f->outcome.kind != PG_OK)
    return false;
  claim->edge = f->seal.growth.after;
  return true;
}

bool append(struct fixture *f, const struct append_item *items, int count) {
  return append_by(f, &f->claim, items, count);
}

static void on_matches(void *arg, int statement, const PGresult *result) {
  struct fixture *f = arg;
  if (statement > 0)
    return;
  f->match_count = append_match_count(result);
  assert_true(f->match_count <= MAX_MATCHES);
  for (int i = 0; i < f->match_count; i++)
    assert_int_equal(append_read_match(result, i, &f->matches[i], &f->error), 0);
}

void look_up(struct fixture *f, const struct append_item *items, int count) {
  append_send_lookup(f->appender, f->conn, items, count);
  run(f, on_matches);
  assert_ok(f);
}

const struct append_match *match_of(const struct fixture *f, int index) {
  for (int i = 0; i < f->match_count; i++) {
    if (f->matches[i].index == index)
      return &f->matches[i];
  }
  return NULL;
}
