/*
 * The store's row: its name is set once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ledger/store_restore.h"
#include "support/store.h"

#define READINGS 2

struct reading {
  bool is_done;
  struct store_row row;
  struct error err;
};

struct world {
  struct store store;
  struct reading readings[READINGS];
};

static int group_setup(void **state) {
  struct world *w = xcalloc(1, sizeof(*w));
  *state = w;
  store_start(&w->store);
  return 0;
}

static int group_teardown(void **state) {
  struct world *w = *state;
  store_remove(&w->store);
  free(w);
  return 0;
}

static int set_up(void **state) {
  struct world *w = *state;
  store_open(&w->store);
  PQclear(store_query(&w->store, "UPDATE store SET origin = NULL"));
  return 0;
}

static int tear_down(void **state) {
  struct world *w = *state;
  store_close(&w->store);
  return 0;
}

static int64_t in_ten_seconds(const struct world *w) {
  return clock_monotonic_us(w->store.loop.clock) + 10 * CLOCK_US_PER_S;
}

static void on_row(void *arg, const struct store_row *row, const struct error *err) {
  struct reading *reading = arg;
  if (row)
    reading->row = *row;
  if (err)
    reading->err = *err;
  reading->is_done = true;
}

static struct reading *begin(struct world *w, int index, const char *origin) {
  struct reading *reading = &w->readings[index];
  *reading = (struct reading){0};
  store_row_read(w->store.pool, origin, in_ten_seconds(w), on_row, reading);
  assert_false(reading->is_done);
  return reading;
}

static struct reading *read_row(struct world *w, const char *origin) {
  struct reading *reading = begin(w, 0, origin);
  store_run_until(&w->store, &reading->is_done);
  return reading;
}

static void a_new_store_is_named_by_its_id(void **state) {
  struct world *w = *state;
  const struct reading *reading = read_row(w, "");
  char expected[64];
  const uint8_t *id = reading->row.store_id.bytes;
  snprintf(expected, sizeof(expected), "auditstore/%02x%02x%02x%02x%02x%02x%02x%02x", id[0], id[1],
           id[2], id[3], id[4], id[5], id[6], id[7]);
  assert_string_equal(reading->row.origin, expected);
  assert_int_equal(reading->row.epoch, 0);
  assert_int_equal(reading->row.next_ledger_id, 1);
}

static void the_first_name_stays(void **state) {
  struct world *w = *state;
  assert_string_equal(read_row(w, "audit.example.com/prod")->row.origin, "audit.example.com/prod");
  assert_string_equal(read_row(w, "")->row.origin, "audit.example.com/prod");
  assert_string_equal(read_row(w, "audit.example.com/prod")->row.origin, "audit.example.com/prod");
  const struct reading *other = read_row(w, "audit.example.com/test");
  assert_int_equal(other->err.code, ERR_INVALID_ARGUMENT);
  assert_non_null(strstr(other->err.text, "audit.example.com/prod"));
  assert_non_null(strstr(other->err.text, "audit.example.com/test"));
  assert_string_equal(read_row(w, "")->row.origin, "audit.example.com/prod");
}

/* Each is the first, as far as it can see. */
static void of_two_first_daemons_one_names_the_store(void **state) {
  struct world *w = *state;
  for (int round = 0; round < 20; round++) {
    PQclear(store_query(&w->store, "UPDATE store SET origin = NULL"));
    const struct reading *a = begin(w, 0, "a.example");
    const struct reading *b = begin(w, 1, "b.example");
    store_run_until(&w->store, &a->is_done);
    store_run_until(&w->store, &b->is_done);
    assert_true((a->err.code == ERR_OK) != (b->err.code == ERR_OK));
  }
}

static void the_longest_name_fits(void **state) {
  struct world *w = *state;
  char name[CHECKPOINT_ORIGIN_MAX + 1] = {0};
  memset(name, 'n', CHECKPOINT_ORIGIN_MAX);
  assert_string_equal(read_row(w, name)->row.origin, name);
}

/* ---- restores ---- */

struct restore {
  bool is_done;
  struct store_restored restored;
  struct error err;
};

static void on_restored(void *arg, const struct store_restored *restored, const struct error *err) {
  struct restore *restore = arg;
  if (restored)
    restore->restored = *restored;
  if (err)
    restore->err = *err;
  restore->is_done = true;
}

static struct restore restore(struct world *w, int64_t last_id) {
  struct restore r = {0};
  store_restore(w->store.pool, last_id, in_ten_seconds(w), on_restored, &r);
  store_run_until(&w->store, &r.is_done);
  return r;
}

static void an_epoch_begins_above_every_id_that_was_given_out(void **state) {
  struct world *w = *state;
  assert_int_equal(restore(w, 0).restored.epoch, 1);
  assert_int_equal(read_row(w, "")->row.next_ledger_id, 1000001);
  assert_int_equal(restore(w, 1000005).restored.epoch, 2);
  assert_int_equal(restore(w, 7000005).restored.epoch, 8);
  PQclear(store_query(&w->store, "UPDATE store SET next_ledger_id = 11000005"));
  assert_int_equal(restore(w, 0).restored.epoch, 12);
  PQclear(store_query(&w->store, "INSERT INTO ledgers (ledger_id) VALUES (20000000)"));
  struct restore last = restore(w, 0);
  assert_int_equal(last.restored.old_epoch, 12);
  assert_int_equal(last.restored.epoch, 21);
  assert_int_equal(last.restored.closed, 1);
  assert_int_equal(read_row(w, "")->row.next_ledger_id, 21000001);
}

static void a_lease_that_is_over_or_closed_holds_nobody_up(void **state) {
  struct world *w = *state;
  PQclear(store_query(&w->store,
                      "INSERT INTO ledgers (ledger_id, owner, leased_until) VALUES"
                      " (1, gen_random_uuid(), now() + interval '1 minute'),"
                      " (2, gen_random_uuid(), now() - interval '1 second')"));
  struct restore refused = restore(w, 0);
  assert_int_equal(refused.err.code, ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(refused.err.text, "1 ledgers are leased"));
  assert_int_equal(read_row(w, "")->row.epoch, 0);
  PQclear(store_query(&w->store,
                      "UPDATE ledgers SET leased_until = now() - interval '1 ms'"
                      " WHERE ledger_id = 1"));
  assert_int_equal(restore(w, 0).restored.closed, 2);
  assert_int_equal(restore(w, 0).restored.closed, 0);
}

/* Whoever takes a ledger at the same time is seen, or finds it closed. */
static void a_claim_meanwhile_is_waited_for(void **state) {
  struct world *w = *state;
  PQclear(store_query(&w->store, "INSERT INTO ledgers (ledger_id) VALUES (1)"));
  PQclear(store_query(&w->store, "BEGIN"));
  PQclear(store_query(&w->store,
                      "UPDATE ledgers SET owner = gen_random_uuid(),"
                      " leased_until = now() + interval '1 minute'"));
  struct restore r = {0};
  store_restore(w->store.pool, 0, in_ten_seconds(w), on_restored, &r);
  for (int i = 0; i < 50; i++)
    store_turn(&w->store);
  assert_false(r.is_done);
  PQclear(store_query(&w->store, "COMMIT"));
  store_run_until(&w->store, &r.is_done);
  assert_int_equal(r.err.code, ERR_FAILED_PRECONDITION);
  PQclear(store_query(&w->store, "TRUNCATE ledgers"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_new_store_is_named_by_its_id),
      TEST(the_first_name_stays),
      TEST(of_two_first_daemons_one_names_the_store),
      TEST(the_longest_name_fits),
      TEST(an_epoch_begins_above_every_id_that_was_given_out),
      TEST(a_lease_that_is_over_or_closed_holds_nobody_up),
      TEST(a_claim_meanwhile_is_waited_for),
  };
#undef TEST
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
