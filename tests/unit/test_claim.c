/*
 * Claiming ledgers, against a real PostgreSQL: one owner at a time, fenced, and nothing appended to
 * a ledger that doesn't fit together.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ledger/rows.h"
#include "support/ledger_fixture.h"

/* A claim by another writer. */
static struct claim other_claim(void) {
  struct claim claim;
  claim_init(&claim);
  return claim;
}

/* Appends events number..number+count-1. */
static bool append_events(struct fixture *f, struct claim *claim, int number, int count) {
  struct event events[8];
  struct append_item items[8];
  for (int i = 0; i < count; i++) {
    events[i] = sample_event(number + i);
    items[i] = (struct append_item){.event = &events[i], .received_us = 1000};
  }
  return append_by(f, claim, items, count);
}

/* ---- one owner ---- */

static void a_leased_ledger_is_not_claimed_by_others(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 1);
  assert_int_equal(other.ledger_id, 2);
  assert_true(append_events(f, &f->claim, 1, 1));
  assert_true(append_events(f, &other, 2, 1));
}

static void a_ledger_whose_lease_is_over_is_claimed_as_it_stands(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  store_sql(&f->store, "UPDATE ledgers SET leased_until = now() - interval '1 second'");
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(other.ledger_id, 1);
  assert_int_equal(other.edge.size, 3);
  assert_true(append_events(f, &other, 4, 2));
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(other.edge.size, 5);
}

static void who_lost_a_ledger_cannot_write_and_gets_another(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_ledger(f, &f->claim);
  store_sql(&f->store, "UPDATE ledgers SET leased_until = now()");
  claim_ledger(f, &other);
  assert_int_equal(other.ledger_id, 1);
  assert_false(append_events(f, &f->claim, 1, 1));
  assert_true(append_is_stale(&f->outcome));
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM audit_events"), 0);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 2);
}

static void a_write_extends_the_lease(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  store_sql(&f->store, "UPDATE ledgers SET leased_until = now()");
  assert_true(append_events(f, &f->claim, 1, 1));
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM ledgers WHERE leased_until BETWEEN"
                                " now() + interval '50 seconds' AND now() + interval '60 seconds'"),
                   1);
}

static void a_ledger_given_back_is_free_at_once(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_ledger(f, &f->claim);
  claim_send_release(f->conn, &f->claim);
  run(f, NULL);
  assert_ok(f);
  claim_ledger(f, &other);
  assert_int_equal(other.ledger_id, 1);
}

static void a_ledger_that_is_being_written_is_passed_over(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_ledger(f, &f->claim);
  store_sql(&f->store, "UPDATE ledgers SET leased_until = now() - interval '1 second'");
  store_sql(&f->store, "BEGIN");
  store_sql(&f->store, "SELECT * FROM ledgers FOR UPDATE");
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  store_sql(&f->store, "COMMIT");
  assert_int_equal(other.ledger_id, 2);
}

/* A row that stands under the id that is next, as somebody who wrote it by hand leaves it. */
static void an_id_that_is_taken_is_passed_over(void **state) {
  struct fixture *f = *state;
  store_sql(&f->store,
            "INSERT INTO ledgers (ledger_id, owner, leased_until)"
            " VALUES (1, gen_random_uuid(), now() + interval '1 hour')");
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_RACED);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 2);
}

static void an_id_is_never_used_again(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  store_sql(&f->store, "DELETE FROM ledgers");
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 2);
  assert_true(f->answer.is_gone);
  store_sql(&f->store, "DELETE FROM ledgers");
  f->first_new_id = 40;
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 40);
  assert_int_equal(store_number(&f->store, "SELECT next_ledger_id FROM store"), 41);
}

/* ---- answers that were lost ---- */

/* Two claims of one owner, neither of which knows of the other. */
static void claim_twice(struct fixture *f, struct claim *claim) {
  claim_init(claim);
  struct claim lost = *claim;
  claim_ledger(f, &lost);
  store_sql(&f->store, "UPDATE ledgers SET owner = gen_random_uuid() WHERE ledger_id = 1");
  claim_ledger(f, claim);
  assert_int_equal(claim->ledger_id, 2);
  store_sql(&f->store,
            "UPDATE ledgers SET owner = (SELECT owner FROM ledgers WHERE ledger_id = 2)");
}

static void what_a_lost_answer_left_is_given_back(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_twice(f, &f->claim);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 2);
  assert_true(append_events(f, &f->claim, 1, 2));
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(other.ledger_id, 1);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 2);
}

static void what_an_unknown_claim_made_is_found(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 5; i++) {
    f->claim.ledger_id = 0;
    assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
    assert_int_equal(f->claim.ledger_id, 1);
  }
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledgers"), 1);
}

static void one_of_several_that_is_suspect_does_not_stand_in_the_way(void **state) {
  struct fixture *f = *state;
  claim_twice(f, &f->claim);
  store_sql(&f->store, "UPDATE ledgers SET suspect_since = now() WHERE ledger_id = 2");
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 1);
}

/* ---- what is stored ---- */

static void sign(struct fixture *f, struct signing_key **ret_key) {
  static const char dir[] = "/tmp/test_claim.XXXXXX";
  char folder[sizeof(dir)];
  char path[64];
  struct error err;
  memcpy(folder, dir, sizeof(dir));
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof(path), "%s/key.pem", folder);
  assert_int_equal(signing_key_generate(path, ret_key, &err), 0);
  unlink(path);
  rmdir(folder);
  f->signer.key = *ret_key;
}

struct tampering {
  const char *statement;
  const char *reason; /* NULL: not to be noticed */
};

static void check_tampering(struct fixture *f, const struct tampering *tampering) {
  struct claim other = other_claim();
  store_sql(&f->store,
            "TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes;"
            " UPDATE store SET next_ledger_id = 1");
  f->claim = other_claim();
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  assert_true(append_events(f, &f->claim, 4, 2));
  store_sql(&f->store, "UPDATE ledgers SET owner = NULL");
  store_sql(&f->store, tampering->statement);
  enum claim_verdict verdict = claim_ledger(f, &other);
  if (verdict != (tampering->reason ? CLAIM_SUSPECT : CLAIM_HELD))
    fail_msg("%s: %d, %s", tampering->statement, (int)verdict, f->answer.reason);
  if (!tampering->reason)
    return;
  assert_int_equal(f->answer.ledger_id, 1);
  if (!strstr(f->answer.reason, tampering->reason))
    fail_msg("\"%s\" isn't \"%s\"", f->answer.reason, tampering->reason);
}

static void what_does_not_fit_together_is_suspect(void **state) {
  struct fixture *f = *state;
  struct signing_key *key = NULL;
  static const struct tampering cases[] = {
      {"SELECT 1", NULL},
      {"UPDATE ledger_batches SET checkpoint = NULL WHERE first_sequence = 0", NULL},
      {"UPDATE ledger_batches SET checkpoint = NULL WHERE first_sequence = 3", "isn't signed"},
      {"UPDATE ledgers SET tree_size = 6", "isn't where the last"},
      {"UPDATE ledgers SET tree_size = 7", "edge isn't that"},
      {"UPDATE ledgers SET edge = edge || '\\x00'", "edge isn't that"},
      {"UPDATE ledgers SET edge = set_byte(edge, 40, 255 - get_byte(edge, 40))",
       "doesn't give the root"},
      {"UPDATE ledger_batches SET root = set_byte(root, 9, 255 - get_byte(root, 9))",
       "doesn't give the root"},
      {"DELETE FROM ledger_batches WHERE first_sequence = 3", "isn't where the last"},
      {"DELETE FROM ledger_batches", "has no row"},
      {"UPDATE ledgers SET tree_size = 0, edge = ''", "isn't where the last"},
      {"UPDATE ledger_batches SET checkpoint = replace(checkpoint, '5', '6')",
       "checkpoint of the last"},
      {"UPDATE ledger_batches b SET checkpoint = (SELECT checkpoint FROM ledger_batches"
       " WHERE first_sequence = 0) WHERE first_sequence = 3",
       "checkpoint of the last"},
  };
  sign(f, &key);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    check_tampering(f, &cases[i]);
  signing_key_free(key);
}

static void a_suspect_ledger_is_never_claimed_again(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  claim_ledger(f, &f->claim);
  claim_send_suspect(f->conn, &f->claim, 1);
  run(f, NULL);
  assert_ok(f);
  assert_false(append_events(f, &f->claim, 1, 1));
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(other.ledger_id, 2);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  assert_int_equal(f->claim.ledger_id, 3);
}

/* ---- whose signature it has ---- */

/* A ledger of three events that nobody owns, written with `key`. */
static void write_signed(struct fixture *f, const struct signing_key *key) {
  f->signer.key = key;
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  store_sql(&f->store, "UPDATE ledgers SET owner = NULL");
}

static void a_tail_signed_with_an_unknown_key_is_not_adopted(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  struct signing_key *own = NULL;
  struct signing_key *foreign = NULL;
  sign(f, &own);
  sign(f, &foreign);
  write_signed(f, foreign);
  f->signer.key = own;
  assert_int_equal(claim_ledger(f, &other), CLAIM_SUSPECT);
  assert_non_null(strstr(f->answer.reason, "trusted"));
  signing_key_free(own);
  signing_key_free(foreign);
}

static void without_a_key_nothing_can_be_judged(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  struct signing_key *key = NULL;
  sign(f, &key);
  write_signed(f, key);
  f->signer.key = NULL;
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  signing_key_free(key);
}

static void a_ledger_that_was_never_signed_is_left_without_an_alarm(void **state) {
  struct fixture *f = *state;
  struct claim other = other_claim();
  struct signing_key *key = NULL;
  write_signed(f, NULL);
  sign(f, &key);
  assert_int_equal(claim_ledger(f, &other), CLAIM_UNPROVED);
  claim_send_close(f->conn, &other, f->answer.ledger_id);
  run(f, NULL);
  assert_ok(f);
  assert_int_equal(claim_ledger(f, &other), CLAIM_HELD);
  assert_int_equal(other.ledger_id, 2);
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM ledgers WHERE ledger_id = 1"
                                " AND closed_since IS NOT NULL AND suspect_since IS NULL"),
                   1);
  signing_key_free(key);
}

/* ---- what was known of it ---- */

static struct ledger_head head_of(struct fixture *f, const struct claim *claim) {
  return (struct ledger_head){claim->edge.size, merkle_edge_root(&claim->edge, f->seal.hasher)};
}

static void what_is_known_needs_no_signature(void **state) {
  struct fixture *f = *state;
  struct signing_key *key = NULL;
  struct signing_key *next = NULL;
  sign(f, &next);
  sign(f, &key);
  write_signed(f, key);
  struct ledger_head head = head_of(f, &f->claim);
  ledger_memory_note(f->memory, 1, &head);
  f->signer.key = next;
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_HELD);
  signing_key_free(key);
  signing_key_free(next);
}

static void a_ledger_that_is_smaller_than_known_is_suspect(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  struct claim before = f->claim;
  assert_true(append_events(f, &f->claim, 4, 2));
  struct ledger_head head = head_of(f, &f->claim);
  ledger_memory_note(f->memory, 1, &head);
  store_sql(&f->store, "DELETE FROM ledger_batches WHERE first_sequence = 3");
  store_sql(&f->store, "UPDATE ledgers SET tree_size = 3");
  char text[256];
  struct buf edge;
  buf_init(&edge, 1024);
  assert_true(merkle_edge_pack(&before.edge, &edge));
  int len = snprintf(text, sizeof(text), "UPDATE ledgers SET edge = '\\x");
  for (size_t i = 0; i < buf_len(&edge); i++)
    len += snprintf(text + len, sizeof(text) - (size_t)len, "%02x", buf_bytes(&edge)[i]);
  snprintf(text + len, sizeof(text) - (size_t)len, "'");
  buf_deinit(&edge);
  store_sql(&f->store, text);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_SUSPECT);
  assert_non_null(strstr(f->answer.reason, "smaller"));
}

static void a_ledger_with_another_root_than_known_is_suspect(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  struct ledger_head head = head_of(f, &f->claim);
  head.root.bytes[7] ^= 1;
  ledger_memory_note(f->memory, 1, &head);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_SUSPECT);
  assert_non_null(strstr(f->answer.reason, "another root"));
}

static bool was_recalled;

static void on_recalled(void *arg, int statement, const PGresult *result) {
  struct fixture *f = arg;
  (void)statement;
  was_recalled = claim_read_recall(result, &f->answer.known);
}

/* Whether it is one that has grown, and has what was known of it in its past. */
static bool recalls(struct fixture *f, const struct ledger_head *known) {
  ledger_memory_reset(f->memory, &(struct ledger_known){1, *known}, 1);
  assert_int_equal(claim_ledger(f, &f->claim), CLAIM_GREW);
  claim_send_recall(f->conn, &f->claim, f->answer.ledger_id, f->answer.known.size);
  run(f, on_recalled);
  assert_ok(f);
  return was_recalled;
}

static void a_ledger_that_has_grown_has_what_was_known_in_its_past(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  struct ledger_head head = head_of(f, &f->claim);
  assert_true(append_events(f, &f->claim, 4, 2));
  assert_true(append_events(f, &f->claim, 6, 1));
  assert_true(recalls(f, &head));
  struct ledger_head other = head;
  other.root.bytes[0] ^= 1;
  assert_false(recalls(f, &other));
  other = head;
  other.size = 4;
  assert_false(recalls(f, &other));
  store_sql(&f->store, "DELETE FROM ledger_batches WHERE first_sequence = 0");
  assert_false(recalls(f, &head));
}

static void the_time_of_the_last_record_is_told(void **state) {
  struct fixture *f = *state;
  claim_ledger(f, &f->claim);
  assert_true(f->answer.committed_us == INT64_MIN);
  assert_true(append_events(f, &f->claim, 1, 3));
  claim_ledger(f, &f->claim);
  assert_int_equal(f->answer.committed_us, COMMITTED_US);
}

/* ---- the record of a batch ---- */

static bool bytes_are(struct fixture *f, const char *query, const void *bytes, size_t len) {
  PGresult *result = store_query(&f->store, query);
  size_t got = 0;
  unsigned char *value = PQunescapeBytea((unsigned char *)PQgetvalue(result, 0, 0), &got);
  bool is_same = str_equal(str_of(value, got), str_of(bytes, len));
  PQfreemem(value);
  PQclear(result);
  return is_same;
}

static void a_batch_is_recorded_with_its_hashes(void **state) {
  struct fixture *f = *state;
  struct signing_key *key = NULL;
  sign(f, &key);
  claim_ledger(f, &f->claim);
  assert_true(append_events(f, &f->claim, 1, 3));
  assert_true(append_events(f, &f->claim, 4, 2));
  struct str note = str_of(buf_bytes(&f->seal.note), buf_len(&f->seal.note));
  assert(note.data);
  const struct checkpoint checkpoint = {.ledger_id = 1, .size = 5, .root = f->seal.root};
  assert_int_equal(checkpoint_judge(&checkpoint, &f->signer, note), CHECKPOINT_GOOD);
  assert_true(bytes_are(f, "SELECT leaf_hashes FROM ledger_batches WHERE first_sequence = 3",
                        f->seal.growth.nodes, (size_t)2 * MERKLE_HASH_SIZE));
  assert_true(bytes_are(f, "SELECT root FROM ledger_batches WHERE first_sequence = 3",
                        f->seal.root.bytes, MERKLE_HASH_SIZE));
  assert_true(bytes_are(f,
                        "SELECT convert_to(checkpoint, 'UTF8') FROM ledger_batches"
                        " WHERE first_sequence = 3",
                        note.data, note.len));
  assert_int_equal(store_number(&f->store,
                                "SELECT (extract(epoch FROM committed_at) * 1000000)::int8"
                                " FROM ledger_batches WHERE first_sequence = 0"),
                   COMMITTED_US);
  assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledger_nodes"), 0);
  signing_key_free(key);
}

/* The leaf of an event that is read back is the one that was stored with it. */
static void an_event_read_back_has_its_leaf(void **state) {
  struct fixture *f = *state;
  struct event event = sample_event(1);
  const struct event_place place = {.received_us = 1234567, .ledger_id = 1};
  struct buf packed;
  claim_ledger(f, &f->claim);
  assert_true(
      append(f, &(struct append_item){.event = &event, .received_us = place.received_us}, 1));
  buf_init(&packed, 4096);
  assert_true(event_pack(&event, &place, &packed));
  struct merkle_hash leaf = merkle_hash_leaf(f->seal.hasher, buf_bytes(&packed), buf_len(&packed));
  assert_true(bytes_are(f, "SELECT leaf_hashes FROM ledger_batches", &leaf, sizeof(leaf)));
  buf_deinit(&packed);
}

#define CROWD 300

static void complete_subtrees_of_256_are_stored(void **state) {
  struct fixture *f = *state;
  struct event *events = xcalloc(3 * CROWD, sizeof(*events));
  struct append_item *items = xcalloc(3 * CROWD, sizeof(*items));
  for (int i = 0; i < 3 * CROWD; i++) {
    events[i] = sample_event(i + 1);
    items[i] = (struct append_item){.event = &events[i], .received_us = 1000};
  }
  claim_ledger(f, &f->claim);
  for (int i = 0; i < 3; i++) {
    assert_true(append(f, items + (ptrdiff_t)CROWD * i, CROWD));
    assert_int_equal(store_number(&f->store, "SELECT count(*) FROM ledger_nodes"), i + 1);
    assert_true(bytes_are(f, "SELECT hash FROM ledger_nodes ORDER BY node_index DESC LIMIT 1",
                          merkle_growth_node(&f->seal.growth, 8, i), MERKLE_HASH_SIZE));
  }
  assert_int_equal(store_number(&f->store,
                                "SELECT count(*) FROM ledger_nodes WHERE level = 8"
                                " AND ledger_id = 1 AND node_index BETWEEN 0 AND 2"),
                   3);
  free(items);
  free(events);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_setup, ledger_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_leased_ledger_is_not_claimed_by_others),
      TEST(a_ledger_whose_lease_is_over_is_claimed_as_it_stands),
      TEST(who_lost_a_ledger_cannot_write_and_gets_another),
      TEST(a_write_extends_the_lease),
      TEST(a_ledger_given_back_is_free_at_once),
      TEST(a_ledger_that_is_being_written_is_passed_over),
      TEST(an_id_that_is_taken_is_passed_over),
      TEST(an_id_is_never_used_again),
      TEST(what_a_lost_answer_left_is_given_back),
      TEST(what_an_unknown_claim_made_is_found),
      TEST(one_of_several_that_is_suspect_does_not_stand_in_the_way),
      TEST(what_does_not_fit_together_is_suspect),
      TEST(a_suspect_ledger_is_never_claimed_again),
      TEST(a_tail_signed_with_an_unknown_key_is_not_adopted),
      TEST(without_a_key_nothing_can_be_judged),
      TEST(a_ledger_that_was_never_signed_is_left_without_an_alarm),
      TEST(what_is_known_needs_no_signature),
      TEST(a_ledger_that_is_smaller_than_known_is_suspect),
      TEST(a_ledger_with_another_root_than_known_is_suspect),
      TEST(a_ledger_that_has_grown_has_what_was_known_in_its_past),
      TEST(the_time_of_the_last_record_is_told),
      TEST(a_batch_is_recorded_with_its_hashes),
      TEST(an_event_read_back_has_its_leaf),
      TEST(complete_subtrees_of_256_are_stored),
  };
  return cmocka_run_group_tests(tests, ledger_group_setup, ledger_group_teardown);
}
