#include "ledger/memory_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "pg/ask.h"
#include "pg/binary.h"

/* Above what the largest file of a memory takes. */
#define PARAM_MAX_BYTES ((size_t)512 * 1024 * 1024)

enum { PARAMS = 3 };

struct memory_checking {
  struct ledger_known *known; /* owned */
  int count;
  memory_check_cb *cb;
  void *arg;
};

/* The ledgers that lack something; the first of them, and how many there are. */
static const char check_sql[] =
    "SELECT k.id, k.size, l.tree_size, count(*) OVER ()"
    " FROM unnest($1::int8[], $2::int8[], $3::bytea[]) AS k (id, size, root)"
    " LEFT JOIN ledgers l ON l.ledger_id = k.id"
    " LEFT JOIN LATERAL (SELECT first_sequence + event_count AS size, root FROM ledger_batches"
    "  WHERE ledger_id = k.id AND first_sequence < k.size"
    "  ORDER BY first_sequence DESC LIMIT 1) AS b ON true"
    " WHERE l.ledger_id IS NULL OR l.tree_size < k.size"
    "  OR (k.size > 0 AND (b.size, b.root) IS DISTINCT FROM (k.size, k.root))"
    " ORDER BY k.id LIMIT 1";

enum column { ID, KNOWN_SIZE, SIZE, FAULTS, COLUMNS };

static int describe(const PGresult *result, struct error *err) {
  int64_t id = 0;
  int64_t known = 0;
  int64_t size = 0;
  int64_t faults = 0;
  bool is_there = !PQgetisnull(result, 0, SIZE);
  char found[64] = "doesn't have it";
  if (PQnfields(result) != COLUMNS || !pg_get_int8(pg_field(result, 0, ID), &id) ||
      !pg_get_int8(pg_field(result, 0, KNOWN_SIZE), &known) ||
      (is_there && !pg_get_int8(pg_field(result, 0, SIZE), &size)) ||
      !pg_get_int8(pg_field(result, 0, FAULTS), &faults))
    return error_set(err, ERR_INTERNAL, "the answer about what is known can't be read");
  if (is_there && size < known)
    snprintf(found, sizeof(found), "has %" PRId64 " of them", size);
  else if (is_there)
    snprintf(found, sizeof(found), "has others in their place");
  return error_set(
      err, ERR_FAILED_PRECONDITION,
      "ledger %" PRId64 ": %" PRId64
      " events are known to be committed, and the database %s (%" PRId64
      " ledgers are like that): restored from a backup? Then stop all daemons of this store "
      "and run: auditstored restored --config FILE",
      id, known, found, faults);
}

static int read_answer(void *arg, const PGresult *result, struct error *err) {
  (void)arg;
  return PQntuples(result) > 0 ? describe(result, err) : 0;
}

static bool put_known(const struct memory_checking *c, struct buf params[PARAMS]) {
  bool ok = pg_put_array(&params[0], PG_INT8, c->count, false) &&
            pg_put_array(&params[1], PG_INT8, c->count, false) &&
            pg_put_array(&params[2], PG_BYTEA, c->count, false);
  for (int i = 0; ok && i < c->count; i++) {
    const struct ledger_known *known = &c->known[i];
    ok = pg_put_int8(&params[0], known->ledger_id) && pg_put_int8(&params[1], known->head.size) &&
         pg_put_text(&params[2], str_of(known->head.root.bytes, MERKLE_HASH_SIZE));
  }
  return ok;
}

static void send_params(struct pg_lease *conn, struct buf params[PARAMS]) {
  static const Oid types[PARAMS] = {PG_INT8_ARRAY, PG_INT8_ARRAY, PG_BYTEA_ARRAY};
  static const struct pg_statement statement = {
      .sql = check_sql, .param_count = PARAMS, .param_types = types};
  const char *values[PARAMS];
  int lengths[PARAMS];
  for (int i = 0; i < PARAMS; i++) {
    values[i] = (const char *)buf_bytes(&params[i]);
    lengths[i] = (int)buf_len(&params[i]);
  }
  pg_send(conn, &statement, &(struct pg_params){.values = values, .lengths = lengths});
}

static int send_question(void *arg, struct pg_lease *conn, struct error *err) {
  const struct memory_checking *c = arg;
  struct buf params[PARAMS];
  for (int i = 0; i < PARAMS; i++)
    buf_init(&params[i], PARAM_MAX_BYTES);
  bool fits = put_known(c, params);
  if (fits)
    send_params(conn, params);
  for (int i = 0; i < PARAMS; i++)
    buf_deinit(&params[i]);
  return fits ? 0
              : error_set(err, ERR_EXHAUSTED, "%d known ledgers are more than one question takes",
                          c->count);
}

static void finish(void *arg, const struct error *err) {
  struct memory_checking *c = arg;
  c->cb(c->arg, err);
  free(c->known);
  free(c);
}

void memory_check(struct pg_pool *pool, const struct ledger_memory *memory, int64_t deadline_us,
                  memory_check_cb *cb, void *arg) {
  static const struct pg_question question = {
      .send = send_question, .read = read_answer, .done = finish};
  struct memory_checking *c = xcalloc(1, sizeof(*c));
  c->known = ledger_memory_list(memory, &c->count);
  c->cb = cb;
  c->arg = arg;
  pg_ask(pool, deadline_us, "memory check", &question, c);
}
