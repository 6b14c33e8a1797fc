#include "ledger/claim.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pg/binary.h"

void claim_init(struct claim *claim) {
  *claim = (struct claim){.committed_us = INT64_MIN};
  if (getrandom(claim->owner.bytes, sizeof(claim->owner.bytes), 0) != sizeof(claim->owner.bytes))
    abort();
}

/* ---- claiming ---- */

/* The update of ledgers that are ours makes us wait for a writer that is still at one, such as the
 * server's end of a connection that was lost. Of several, which a lost answer leaves, the known one
 * is kept. Ledgers that others are claiming or writing right now are passed over. */
static const char claim_sql[] =
    "WITH ours AS MATERIALIZED (SELECT ledger_id FROM ledgers"
    "  WHERE owner = $1 AND suspect_since IS NULL AND closed_since IS NULL FOR UPDATE),"
    " free AS MATERIALIZED (SELECT ledger_id FROM ledgers"
    "  WHERE (owner IS NULL OR leased_until < now()) AND suspect_since IS NULL"
    "  AND closed_since IS NULL AND NOT EXISTS (SELECT FROM ours)"
    "  ORDER BY ledger_id LIMIT 1 FOR UPDATE SKIP LOCKED),"
    " chosen AS (SELECT ledger_id FROM"
    "  (SELECT ledger_id FROM ours UNION ALL SELECT ledger_id FROM free) AS any_of_them"
    "  ORDER BY ledger_id = $2 DESC, ledger_id LIMIT 1),"
    " taken AS (UPDATE ledgers l SET owner = $1,"
    "  leased_until = now() + $3 * interval '1 microsecond'"
    "  FROM chosen WHERE l.ledger_id = chosen.ledger_id),"
    " given_back AS (UPDATE ledgers l SET owner = NULL, leased_until = NULL FROM ours"
    "  WHERE l.ledger_id = ours.ledger_id"
    "  AND l.ledger_id <> (SELECT ledger_id FROM chosen)),"
    " made AS (UPDATE store SET next_ledger_id = greatest(next_ledger_id, $4) + 1"
    "  WHERE NOT EXISTS (SELECT FROM chosen) RETURNING next_ledger_id - 1 AS ledger_id)"
    " INSERT INTO ledgers (ledger_id, owner, leased_until)"
    "  SELECT ledger_id, $1, now() + $3 * interval '1 microsecond' FROM made"
    " ON CONFLICT (ledger_id) DO NOTHING";

/* In a statement of its own, so that it sees what the first one waited for. */
static const char read_sql[] =
    "SELECT l.ledger_id, l.tree_size, l.edge, b.first_sequence + b.event_count, b.root,"
    "  b.checkpoint, b.committed_at,"
    "  (SELECT checkpoint IS NOT NULL FROM ledger_batches WHERE ledger_id = l.ledger_id"
    "   ORDER BY first_sequence LIMIT 1),"
    "  EXISTS (SELECT FROM ledgers WHERE ledger_id = $2),"
    "  coalesce(b.committed_at > clock_timestamp() + $3 * interval '1 microsecond', false)"
    " FROM ledgers l LEFT JOIN LATERAL (SELECT * FROM ledger_batches"
    "  WHERE ledger_id = l.ledger_id ORDER BY first_sequence DESC LIMIT 1) AS b ON true"
    " WHERE l.owner = $1 AND l.suspect_since IS NULL AND l.closed_since IS NULL"
    " ORDER BY l.ledger_id = $2 DESC, l.ledger_id";

enum { CLAIM_PARAMS = 4 };
static const Oid claim_types[CLAIM_PARAMS] = {PG_UUID, PG_INT8, PG_INT8, PG_INT8};

/* Statements about a claim have its owner first, then numbers. */
static void send_about(struct pg_lease *conn, const struct pg_statement *statement,
                       const struct claim *claim, const int64_t numbers[]) {
  const char *values[CLAIM_PARAMS] = {(const char *)claim->owner.bytes};
  int lengths[CLAIM_PARAMS] = {sizeof(claim->owner.bytes)};
  uint64_t wire[CLAIM_PARAMS];
  for (int i = 1; i < statement->param_count; i++) {
    wire[i] = htobe64((uint64_t)numbers[i - 1]);
    values[i] = (const char *)&wire[i];
    lengths[i] = sizeof(wire[i]);
  }
  pg_send(conn, statement, &(struct pg_params){.values = values, .lengths = lengths});
}

void claim_send(struct pg_lease *conn, const struct claim *claim, int64_t lease_us,
                int64_t first_new_id) {
  static const struct pg_statement claiming = {
      .name = "claim", .sql = claim_sql, .param_count = 4, .param_types = claim_types};
  static const struct pg_statement reading = {
      .name = "claim_read", .sql = read_sql, .param_count = 3, .param_types = claim_types};
  send_about(conn, &claiming, claim, (int64_t[]){claim->ledger_id, lease_us, first_new_id});
  send_about(conn, &reading, claim, (int64_t[]){claim->ledger_id, CLAIM_AHEAD_US});
  surroundings_send(conn);
}

/* $1 owner, $2 ledger, or 0 for each one of the owner's. */
#define LEAVE_SQL(mark)                                                                            \
  "UPDATE ledgers SET " mark                                                                       \
  " = now(), owner = NULL, leased_until = NULL"                                                    \
  " WHERE owner = $1 AND $2 IN (ledger_id, 0)"

void claim_send_suspect(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id) {
  static const struct pg_statement statement = {
      .sql = LEAVE_SQL("suspect_since"),
      .param_count = 2,
      .param_types = claim_types,
  };
  send_about(conn, &statement, claim, &ledger_id);
}

void claim_send_close(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id) {
  static const struct pg_statement statement = {
      .sql = LEAVE_SQL("closed_since"),
      .param_count = 2,
      .param_types = claim_types,
  };
  send_about(conn, &statement, claim, &ledger_id);
}

void claim_send_release(struct pg_lease *conn, const struct claim *claim) {
  static const struct pg_statement statement = {
      .sql = "UPDATE ledgers SET owner = NULL, leased_until = NULL WHERE owner = $1",
      .param_count = 1,
      .param_types = claim_types,
  };
  send_about(conn, &statement, claim, NULL);
}

/* ---- reading ---- */

enum statement { CLAIMING, READING, SURROUNDINGS };
enum column {
  LEDGER_ID,
  TREE_SIZE,
  EDGE,
  BATCH_END,
  ROOT,
  CHECKPOINT,
  COMMITTED_AT,
  IS_FIRST_SIGNED,
  IS_THERE,
  IS_AHEAD,
  COLUMNS
};

struct record {
  int64_t size;
  struct str edge;
  bool has_batch;
  int64_t batch_end;
  struct str root;
  struct str note; /* empty: none */
  bool is_first_signed;
};

static bool read_batch(const PGresult *result, struct record *record, struct claim_answer *answer) {
  record->has_batch = !PQgetisnull(result, 0, BATCH_END);
  return !record->has_batch ||
         (pg_get_int8(pg_field(result, 0, BATCH_END), &record->batch_end) &&
          pg_get_timestamptz(pg_field(result, 0, COMMITTED_AT), &answer->committed_us) &&
          pg_get_bool(pg_field(result, 0, IS_FIRST_SIGNED), &record->is_first_signed));
}

static int read_record(const PGresult *result, struct record *ret_record,
                       struct claim_answer *answer, struct error *err) {
  bool is_there = false;
  *ret_record = (struct record){.edge = pg_field(result, 0, EDGE),
                                .root = pg_field(result, 0, ROOT),
                                .note = pg_field(result, 0, CHECKPOINT)};
  answer->committed_us = INT64_MIN;
  if (PQnfields(result) != COLUMNS ||
      !pg_get_int8(pg_field(result, 0, LEDGER_ID), &answer->ledger_id) ||
      !pg_get_int8(pg_field(result, 0, TREE_SIZE), &ret_record->size) ||
      !pg_get_bool(pg_field(result, 0, IS_THERE), &is_there) ||
      !pg_get_bool(pg_field(result, 0, IS_AHEAD), &answer->is_ahead) ||
      !read_batch(result, ret_record, answer))
    return error_set(err, ERR_INTERNAL, "a ledger's row can't be read");
  answer->is_gone = !is_there;
  return 0;
}

/* ---- judging what is stored ---- */

static enum claim_verdict suspect(struct claim_answer *answer, const char *reason) {
  answer->reason = reason;
  return CLAIM_SUSPECT;
}

static enum claim_verdict contradict(struct claim_answer *answer, const char *reason) {
  answer->is_contradicted = true;
  return suspect(answer, reason);
}

/* NULL: all fits together. */
static const char *find_fault(const struct record *record, const struct checkpoint *checkpoint) {
  if (!record->has_batch)
    return record->size == 0 ? NULL : "ledger_batches has no row of it";
  if (record->batch_end != record->size)
    return "ledgers.tree_size isn't where the last of ledger_batches ends";
  if (!str_equal(record->root, str_of(checkpoint->root.bytes, MERKLE_HASH_SIZE)))
    return "ledgers.edge doesn't give the root of the last of ledger_batches";
  return NULL;
}

static bool can_judge(const struct checkpoint_signer *signer) {
  return signer->key || signing_keyring_count(signer->trusted) > 0;
}

/* What this daemon has committed itself needs no signature to be believed. */
static enum claim_verdict judge_signature(const struct record *record,
                                          const struct checkpoint *checkpoint,
                                          const struct claim_judge *judge, bool is_known,
                                          struct claim_answer *answer) {
  enum checkpoint_trust trust = checkpoint_judge(checkpoint, judge->signer, record->note);
  if (trust == CHECKPOINT_BAD)
    return suspect(answer, "the checkpoint of the last of ledger_batches doesn't hold");
  if (trust == CHECKPOINT_GOOD || is_known || !record->has_batch || !can_judge(judge->signer))
    return CLAIM_HELD;
  if (trust == CHECKPOINT_UNKNOWN_KEY)
    return suspect(answer,
                   "the last of ledger_batches is signed with a key that isn't trusted here "
                   "(ledger.trusted_keys_file)");
  if (record->is_first_signed)
    return suspect(answer, "the last of ledger_batches isn't signed, and the first one is");
  return CLAIM_UNPROVED;
}

static bool is_same_root(const struct merkle_hash *a, const struct merkle_hash *b) {
  return memcmp(a, b, sizeof(*a)) == 0;
}

static enum claim_verdict judge_record(const struct record *record, const struct claim_judge *judge,
                                       struct claim_answer *answer) {
  if (!merkle_edge_unpack(record->edge, record->size, &answer->edge))
    return suspect(answer, "ledgers.edge isn't that of ledgers.tree_size");
  const struct checkpoint checkpoint = {.ledger_id = answer->ledger_id,
                                        .size = record->size,
                                        .root = merkle_edge_root(&answer->edge, judge->hasher)};
  bool is_known = ledger_memory_find(judge->memory, answer->ledger_id, &answer->known);
  if (is_known && record->size < answer->known.size)
    return contradict(answer,
                      "it is smaller than this daemon knew it: was an older copy restored?");
  bool has_grown = is_known && record->size > answer->known.size;
  if (is_known && !has_grown && !is_same_root(&checkpoint.root, &answer->known.root))
    return contradict(answer, "it has another root than this daemon knew it to have");
  const char *fault = find_fault(record, &checkpoint);
  if (fault)
    return suspect(answer, fault);
  enum claim_verdict verdict =
      judge_signature(record, &checkpoint, judge, is_known && !has_grown, answer);
  return verdict == CLAIM_HELD && has_grown && answer->known.size > 0 ? CLAIM_GREW : verdict;
}

static int read_claimed(struct claim_answer *answer, const PGresult *result,
                        const struct claim_judge *judge, struct error *err) {
  struct record record;
  answer->verdict = CLAIM_RACED;
  answer->is_gone = false;
  if (PQntuples(result) == 0)
    return 0;
  int rc = read_record(result, &record, answer, err);
  if (rc < 0)
    return rc;
  answer->verdict = judge_record(&record, judge, answer);
  return 0;
}

int claim_read(struct claim_answer *answer, int statement, const PGresult *result,
               const struct claim_judge *judge, struct error *err) {
  if (statement == READING)
    return read_claimed(answer, result, judge, err);
  if (statement == SURROUNDINGS)
    return surroundings_read(result, &answer->surroundings, err);
  return 0;
}

/* ---- recalling ---- */

void claim_send_recall(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id,
                       int64_t size) {
  static const struct pg_statement statement = {
      .sql =
          "SELECT first_sequence + event_count, root FROM ledger_batches"
          " WHERE $1 IS NOT NULL AND ledger_id = $2 AND first_sequence < $3"
          " ORDER BY first_sequence DESC LIMIT 1",
      .param_count = 3,
      .param_types = claim_types,
  };
  send_about(conn, &statement, claim, (int64_t[]){ledger_id, size});
}

bool claim_read_recall(const PGresult *result, const struct ledger_head *known) {
  int64_t size = 0;
  return PQntuples(result) == 1 && pg_get_int8(pg_field(result, 0, 0), &size) &&
         size == known->size &&
         str_equal(pg_field(result, 0, 1), str_of(known->root.bytes, MERKLE_HASH_SIZE));
}
