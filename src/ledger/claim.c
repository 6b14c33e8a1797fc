#include "ledger/claim.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pg/binary.h"

void claim_init(struct claim *claim) {
  *claim = (struct claim){0};
  if (getrandom(claim->owner.bytes, sizeof(claim->owner.bytes), 0) != sizeof(claim->owner.bytes))
    abort();
}

/* ---- claiming ---- */

/* The update of a ledger that is ours makes us wait for a writer that is still at it, such as the
 * server's end of a connection that was lost. Ledgers that others are claiming or writing right now
 * are passed over. */
static const char claim_sql[] =
    "WITH ours AS MATERIALIZED (SELECT ledger_id FROM ledgers"
    "  WHERE ledger_id = $2 AND owner = $1 AND suspect_since IS NULL FOR UPDATE),"
    " free AS MATERIALIZED (SELECT ledger_id FROM ledgers"
    "  WHERE (owner IS NULL OR leased_until < now()) AND suspect_since IS NULL"
    "  AND NOT EXISTS (SELECT FROM ours) ORDER BY ledger_id LIMIT 1 FOR UPDATE SKIP LOCKED),"
    " chosen AS (SELECT ledger_id FROM ours UNION ALL SELECT ledger_id FROM free),"
    " taken AS (UPDATE ledgers l SET owner = $1,"
    "  leased_until = now() + $3 * interval '1 microsecond'"
    "  FROM chosen WHERE l.ledger_id = chosen.ledger_id)"
    " INSERT INTO ledgers (ledger_id, owner, leased_until)"
    "  SELECT (SELECT coalesce(max(ledger_id), 0) + 1 FROM ledgers), $1,"
    "  now() + $3 * interval '1 microsecond' WHERE NOT EXISTS (SELECT FROM chosen)"
    " ON CONFLICT (ledger_id) DO NOTHING";

/* In a statement of its own, so that it sees what the first one waited for. */
static const char read_sql[] =
    "SELECT l.ledger_id, l.tree_size, l.edge, b.first_sequence + b.event_count, b.root,"
    "  b.checkpoint"
    " FROM ledgers l LEFT JOIN LATERAL (SELECT * FROM ledger_batches"
    "  WHERE ledger_id = l.ledger_id ORDER BY first_sequence DESC LIMIT 1) AS b ON true"
    " WHERE l.owner = $1";

enum { CLAIM_PARAMS = 3 };
static const Oid claim_types[CLAIM_PARAMS] = {PG_UUID, PG_INT8, PG_INT8};

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

void claim_send(struct pg_lease *conn, const struct claim *claim, int64_t lease_us) {
  static const struct pg_statement claiming = {
      .name = "claim", .sql = claim_sql, .param_count = 3, .param_types = claim_types};
  static const struct pg_statement reading = {
      .name = "claim_read", .sql = read_sql, .param_count = 1, .param_types = claim_types};
  send_about(conn, &claiming, claim, (int64_t[]){claim->ledger_id, lease_us});
  send_about(conn, &reading, claim, NULL);
}

void claim_send_suspect(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id) {
  static const struct pg_statement statement = {
      .sql =
          "UPDATE ledgers SET suspect_since = now(), owner = NULL, leased_until = NULL"
          " WHERE owner = $1 AND ledger_id = $2",
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

/* ---- judging what is stored ---- */

enum column { LEDGER_ID, TREE_SIZE, EDGE, BATCH_END, ROOT, CHECKPOINT, COLUMNS };

struct record {
  int64_t size;
  struct str edge;
  bool has_batch;
  int64_t batch_end;
  struct str root;
  struct str note; /* empty: none */
};

static int read_record(const PGresult *result, struct record *ret_record, int64_t *ret_ledger_id,
                       struct error *err) {
  struct record record = {.edge = pg_field(result, 0, EDGE),
                          .has_batch = !PQgetisnull(result, 0, BATCH_END),
                          .root = pg_field(result, 0, ROOT),
                          .note = pg_field(result, 0, CHECKPOINT)};
  if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS ||
      !pg_get_int8(pg_field(result, 0, LEDGER_ID), ret_ledger_id) ||
      !pg_get_int8(pg_field(result, 0, TREE_SIZE), &record.size) ||
      (record.has_batch && !pg_get_int8(pg_field(result, 0, BATCH_END), &record.batch_end)))
    return error_set(err, ERR_INTERNAL, "a ledger's row can't be read");
  *ret_record = record;
  return 0;
}

/* NULL: all fits together. */
static const char *find_fault(const struct record *record, const struct checkpoint_signer *signer,
                              struct merkle_hasher *hasher, struct claim_answer *answer) {
  if (!merkle_edge_unpack(record->edge, record->size, &answer->edge))
    return "ledgers.edge isn't that of ledgers.tree_size";
  if (!record->has_batch)
    return record->size == 0 ? NULL : "ledger_batches has no row of it";
  if (record->batch_end != record->size)
    return "ledgers.tree_size isn't where the last of ledger_batches ends";
  struct checkpoint checkpoint = {.ledger_id = answer->ledger_id,
                                  .size = record->size,
                                  .root = merkle_edge_root(&answer->edge, hasher)};
  if (!str_equal(record->root, str_of(checkpoint.root.bytes, MERKLE_HASH_SIZE)))
    return "ledgers.edge doesn't give the root of the last of ledger_batches";
  if (record->note.len > 0 && !checkpoint_matches(&checkpoint, signer, record->note))
    return "the checkpoint of the last of ledger_batches doesn't hold";
  return NULL;
}

int claim_read(const PGresult *result, const struct checkpoint_signer *signer,
               struct merkle_hasher *hasher, struct claim_answer *ret_answer, struct error *err) {
  struct record record = {0};
  struct claim_answer answer = {.verdict = CLAIM_RACED};
  if (PQntuples(result) > 0) {
    int rc = read_record(result, &record, &answer.ledger_id, err);
    if (rc < 0)
      return rc;
    answer.reason = find_fault(&record, signer, hasher, &answer);
    answer.verdict = answer.reason ? CLAIM_SUSPECT : CLAIM_HELD;
  }
  *ret_answer = answer;
  return 0;
}
