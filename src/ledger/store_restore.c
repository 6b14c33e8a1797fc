#include "ledger/store_restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/ask.h"
#include "pg/binary.h"

#define SCRIPT_SIZE 2048

struct restoring {
  struct pg_lease *conn; /* NULL before it is granted */
  int64_t last_id;
  int64_t deadline_us;
  store_restore_cb *cb;
  void *arg;
  int64_t leased; /* ledgers whose lease isn't over */
  int64_t left_s; /* until the last of them is */
  bool has_epoch;
  struct store_restored restored;
};

static void finish_restore(struct restoring *r, const struct error *err) {
  if (r->conn)
    pg_release(r->conn);
  r->cb(r->arg, err ? NULL : &r->restored, err);
  free(r);
}

/* ---- ending what there is ---- */

#define LEASED "owner IS NOT NULL AND leased_until >= now() AND closed_since IS NULL"

/* The lock keeps claims away between the question and the update. The largest number that was
 * given out says which epochs are used up, whatever the restored row says. */
#define RESTORE_SCRIPT                                                                             \
  "LOCK TABLE store, ledgers IN SHARE ROW EXCLUSIVE MODE;"                                         \
  "SELECT count(*), coalesce(ceil(extract(epoch FROM max(leased_until) - now())), 0)::int8"        \
  " FROM ledgers WHERE " LEASED                                                                    \
  ";"                                                                                              \
  "UPDATE store SET epoch = e.next, next_ledger_id = e.next * %d::int8 + 1 FROM"                   \
  " (SELECT epoch AS old, greatest(epoch + 1, greatest(next_ledger_id - 1, %" PRId64               \
  ", (SELECT max(ledger_id) FROM ledgers)) / %d + 1)::int4 AS next FROM store) AS e"               \
  " WHERE NOT EXISTS (SELECT FROM ledgers WHERE " LEASED                                           \
  ") RETURNING e.old, store.epoch;"                                                                \
  "UPDATE ledgers SET closed_since = now(), owner = NULL, leased_until = NULL"                     \
  " WHERE closed_since IS NULL AND NOT EXISTS (SELECT FROM ledgers WHERE " LEASED ")"

enum { LOCKED, ASKED, BEGUN, CLOSED };

static int64_t number_at(const PGresult *result, int column) {
  return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static void on_restore_result(void *arg, int statement, const PGresult *result) {
  struct restoring *r = arg;
  if (statement == ASKED && PQntuples(result) == 1) {
    r->leased = number_at(result, 0);
    r->left_s = number_at(result, 1);
  } else if (statement == BEGUN && PQntuples(result) == 1) {
    r->has_epoch = true;
    r->restored.old_epoch = (int32_t)number_at(result, 0);
    r->restored.epoch = (int32_t)number_at(result, 1);
  } else if (statement == CLOSED) {
    r->restored.closed = strtoll(PQcmdTuples((PGresult *)result), NULL, 10);
  }
}

static void on_restore_done(void *arg, const struct pg_outcome *outcome) {
  struct restoring *r = arg;
  struct error err;
  if (outcome->kind != PG_OK) {
    finish_restore(r, &outcome->err);
  } else if (r->leased > 0) {
    error_set(&err, ERR_FAILED_PRECONDITION,
              "%" PRId64
              " ledgers are leased: stop all daemons of this store and run this again; one that "
              "died lets its ledgers go within %" PRId64 " s",
              r->leased, r->left_s);
    finish_restore(r, &err);
  } else if (!r->has_epoch) {
    error_set(&err, ERR_FAILED_PRECONDITION,
              "the table store doesn't have its row: restore the one that migrate made");
    finish_restore(r, &err);
  } else {
    finish_restore(r, NULL);
  }
}

static void on_restore_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_pipeline_cb cb = {.on_result = on_restore_result,
                                           .on_done = on_restore_done};
  struct restoring *r = arg;
  char script[SCRIPT_SIZE];
  r->conn = conn;
  if (!conn) {
    finish_restore(r, err);
    return;
  }
  snprintf(script, sizeof(script), RESTORE_SCRIPT, STORE_EPOCH_IDS, r->last_id, STORE_EPOCH_IDS);
  pg_run_script(conn, script, r->deadline_us, &cb, r);
}

void store_restore(struct pg_pool *pool, int64_t last_id, int64_t deadline_us, store_restore_cb *cb,
                   void *arg) {
  struct restoring *r = xcalloc(1, sizeof(*r));
  r->last_id = last_id;
  r->deadline_us = deadline_us;
  r->cb = cb;
  r->arg = arg;
  pg_acquire(pool, deadline_us, "restored", on_restore_acquired, r);
}

/* ---- what there is ---- */

struct heads_reading {
  store_heads_cb *cb;
  void *arg;
  struct ledger_known *known; /* the callee's at the end */
  int count;
};

static const char heads_sql[] =
    "SELECT l.ledger_id, coalesce(b.size, 0), coalesce(b.root, sha256(''))"
    " FROM ledgers l LEFT JOIN LATERAL"
    "  (SELECT first_sequence + event_count AS size, root FROM ledger_batches"
    "   WHERE ledger_id = l.ledger_id AND first_sequence + event_count <= l.tree_size"
    "   ORDER BY first_sequence DESC LIMIT 1) AS b ON true"
    " ORDER BY l.ledger_id";

static bool read_head(const PGresult *result, int row, struct ledger_known *ret_known) {
  struct str root = pg_field(result, row, 2);
  if (!pg_get_int8(pg_field(result, row, 0), &ret_known->ledger_id) ||
      !pg_get_int8(pg_field(result, row, 1), &ret_known->head.size) || root.len != MERKLE_HASH_SIZE)
    return false;
  memcpy(ret_known->head.root.bytes, root.data, MERKLE_HASH_SIZE);
  return true;
}

static int send_heads(void *arg, struct pg_lease *conn, struct error *err) {
  static const struct pg_statement statement = {.sql = heads_sql};
  (void)arg;
  (void)err;
  pg_send(conn, &statement, NULL);
  return 0;
}

static int read_heads(void *arg, const PGresult *result, struct error *err) {
  struct heads_reading *r = arg;
  int rows = PQntuples(result);
  r->known = xcalloc((size_t)rows + 1, sizeof(*r->known));
  for (r->count = 0; r->count < rows; r->count++) {
    if (!read_head(result, r->count, &r->known[r->count]))
      return error_set(err, ERR_INTERNAL, "a ledger's row can't be read");
  }
  return 0;
}

static void finish_heads(void *arg, const struct error *err) {
  struct heads_reading *r = arg;
  if (err) {
    free(r->known);
    r->cb(r->arg, NULL, 0, err);
  } else {
    r->cb(r->arg, r->known, r->count, NULL);
  }
  free(r);
}

void store_heads_read(struct pg_pool *pool, int64_t deadline_us, store_heads_cb *cb, void *arg) {
  static const struct pg_question question = {
      .send = send_heads, .read = read_heads, .done = finish_heads};
  struct heads_reading *r = xcalloc(1, sizeof(*r));
  r->cb = cb;
  r->arg = arg;
  pg_ask(pool, deadline_us, "heads of ledgers", &question, r);
}
