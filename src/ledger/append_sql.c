#include "ledger/append_sql.h"

#include <assert.h>
#include <string.h>

#include "ledger/surroundings.h"

#define SQL_MAX_BYTES 16384

struct sql {
  char text[SQL_MAX_BYTES];
  Oid types[APPEND_PARAMS_MAX];
  struct pg_statement statement;
};

/* 1, or the transaction's end, by a text that isn't a number and that nobody else would think of.
 * concat() keeps the planner from trying it beforehand. */
#define FAIL               "concat('" APPEND_ALTERED_MARK "')::int4"
#define OR_FAIL(condition) "SELECT CASE WHEN " condition " THEN 1 ELSE " FAIL " END"

/* ---- building ---- */

/* False: it was made before. */
static bool sql_begin(const struct sql *sql, struct buf *out) {
  if (sql->statement.sql)
    return false;
  buf_init(out, SQL_MAX_BYTES - 1);
  return true;
}

static void sql_add(struct buf *out, const char *text) {
  bool ok = buf_append_str(out, text);
  assert(ok);
  (void)ok;
}

static void sql_add_param(struct buf *out, const char *before, int number) {
  bool ok = buf_append_format(out, "%s$%d", before, number);
  assert(ok);
  (void)ok;
}

/* "name, name, ..." with a prefix before each. */
static void sql_add_names(struct buf *out, const char *prefix) {
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++) {
    sql_add(out, prefix);
    sql_add(out, event_columns[i].name);
    sql_add(out, ", ");
  }
}

static void sql_add_unnest(struct buf *out, int first_param) {
  sql_add(out, "unnest(");
  for (int i = 0; i < APPEND_ROW_ARRAYS; i++)
    sql_add_param(out, i ? ", " : "", first_param + i);
  sql_add(out, ") AS u(");
  sql_add_names(out, "");
  sql_add(out, "received_at, principal, place)");
}

/* Of the row `e` and what was sent of it, `u`. */
static void sql_add_is_same(struct buf *out) {
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++) {
    const struct event_column *c = &event_columns[i];
    bool ok = buf_append_format(out, "%se.%s%s IS NOT DISTINCT FROM u.%s%s", i ? " AND " : "",
                                c->name, c->cast, c->name, c->cast);
    assert(ok);
    (void)ok;
  }
}

/* A lateral subquery with a limit, so that each id is always looked up in the primary key, whatever
 * the planner believes of the tables' sizes when the statement is prepared. */
static void sql_add_stored(struct buf *out) {
  sql_add(out,
          " CROSS JOIN LATERAL (SELECT * FROM audit_events a WHERE a.event_id = u.event_id"
          " AND a.event_time = u.event_time LIMIT 1) AS e");
}

static void sql_finish_text(struct buf *out, struct sql *sql) {
  memcpy(sql->text, buf_bytes(out), buf_len(out));
  sql->text[buf_len(out)] = '\0';
  buf_deinit(out);
}

static void sql_finish(struct buf *out, struct sql *sql, const char *name, int scalars) {
  sql_finish_text(out, sql);
  for (int i = 0; i < scalars; i++)
    sql->types[i] = PG_INT8;
  Oid *arrays = sql->types + scalars;
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    arrays[i] = (Oid)event_columns[i].array;
  arrays[EVENT_COLUMN_COUNT] = PG_TIMESTAMPTZ_ARRAY;
  arrays[EVENT_COLUMN_COUNT + 1] = PG_TEXT_ARRAY;
  arrays[EVENT_COLUMN_COUNT + 2] = PG_INT4_ARRAY;
  sql->statement = (struct pg_statement){.name = name,
                                         .sql = sql->text,
                                         .param_count = scalars + APPEND_ROW_ARRAYS,
                                         .param_types = sql->types};
}

/* ---- the events ---- */

static void add_insert(struct buf *out) {
  sql_add(out, "WITH w AS (INSERT INTO audit_events (");
  sql_add_names(out, "");
  sql_add(out, "received_at, principal, ledger_id, sequence) ");
}

#define COUNT_WRITTEN " RETURNING 1) " OR_FAIL("count(*) = $3") " FROM w"

/* An aggregate takes 5 us to set up. */
#define ONE_IS_WRITTEN " RETURNING 1) " OR_FAIL("EXISTS (TABLE w)")

const struct pg_statement *append_insert_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  add_insert(&out);
  sql_add(&out, "SELECT ");
  sql_add_names(&out, "u.");
  sql_add(&out, "u.received_at, u.principal, $1, $2 + u.place FROM ");
  sql_add_unnest(&out, APPEND_EVENT_SCALARS + 1);
  sql_add(&out, COUNT_WRITTEN);
  sql_finish(&out, &sql, "append_events", APPEND_EVENT_SCALARS);
  return &sql.statement;
}

/* A single event has no need of arrays: PostgreSQL takes 50 us to set up the rows of 29 of them, as
 * long as it takes to insert the row. */
const struct pg_statement *append_insert_one_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  add_insert(&out);
  sql_add(&out, "VALUES (");
  for (int i = 0; i < EVENT_COLUMN_COUNT + 2; i++)
    sql_add_param(&out, i ? ", " : "", APPEND_EVENT_SCALARS + 1 + i);
  sql_add_param(&out, ", $1, $2 + ", APPEND_PARAMS_MAX);
  sql_add(&out, ")" ONE_IS_WRITTEN);
  sql_finish(&out, &sql, "append_event", APPEND_EVENT_SCALARS);
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    sql.types[APPEND_EVENT_SCALARS + i] = (Oid)event_columns[i].element;
  sql.types[APPEND_PARAMS_MAX - 3] = PG_TIMESTAMPTZ;
  sql.types[APPEND_PARAMS_MAX - 2] = PG_TEXT;
  sql.types[APPEND_PARAMS_MAX - 1] = PG_INT4;
  return &sql.statement;
}

const struct pg_statement *append_compare_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  sql_add(&out, OR_FAIL("count(*) = $3") " FROM ");
  sql_add_unnest(&out, APPEND_EVENT_SCALARS + 1);
  sql_add_stored(&out);
  sql_add(&out,
          " WHERE e.ledger_id = $1 AND e.sequence = $2 + u.place"
          " AND e.received_at = u.received_at AND e.principal IS NOT DISTINCT FROM u.principal"
          " AND ");
  sql_add_is_same(&out);
  sql_finish(&out, &sql, "append_compare", APPEND_EVENT_SCALARS);
  return &sql.statement;
}

const struct pg_statement *append_lookup_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  sql_add(&out,
          "SELECT u.place, e.ledger_id, e.sequence, e.received_at,"
          " coalesce(b.committed_at, e.received_at), ");
  sql_add_is_same(&out);
  sql_add(&out, " FROM ");
  sql_add_unnest(&out, 1);
  sql_add_stored(&out);
  sql_add(&out,
          " LEFT JOIN LATERAL (SELECT committed_at FROM ledger_batches"
          " WHERE ledger_id = e.ledger_id AND first_sequence <= e.sequence"
          " ORDER BY first_sequence DESC LIMIT 1) AS b ON true");
  sql_finish(&out, &sql, "append_lookup", 0);
  return &sql.statement;
}

/* ---- the ledger ---- */

#define TYPE_COUNT(types) (sizeof(types) / sizeof((types)[0]))

/* A ledger that isn't the claim's, or has another size or edge, would get the size -1, which its
 * constraint refuses: the transaction ends, and the events are gone with it. The edge tells when
 * the batch that this one was sent behind was written after all, but with other events. */
const struct pg_statement *append_advance_statement(void) {
  static const Oid types[] = {PG_INT8, PG_INT8, PG_INT8, PG_UUID, PG_BYTEA, PG_BYTEA, PG_INT8};
  static const struct pg_statement statement = {
      .name = "append_advance",
      .sql =
          "UPDATE ONLY ledgers SET edge = $6, leased_until = now() + $7 * interval '1 microsecond',"
          "  tree_size = CASE WHEN tree_size = $2 AND owner = $4 AND edge = $5"
          "  THEN tree_size + $3 ELSE -1 END"
          " WHERE ledger_id = $1",
      .param_count = TYPE_COUNT(types),
      .param_types = types,
  };
  return &statement;
}

const struct pg_statement *append_nodes_statement(void) {
  static const Oid types[] = {PG_INT8, PG_INT2_ARRAY, PG_INT8_ARRAY, PG_BYTEA_ARRAY};
  static const struct pg_statement statement = {
      .name = "append_nodes",
      .sql =
          "WITH w AS (INSERT INTO ledger_nodes (ledger_id, level, node_index, hash)"
          " SELECT $1, n.level, n.node_index, n.hash"
          " FROM unnest($2, $3, $4) AS n(level, node_index, hash)"
          " RETURNING ledger_id, level, node_index, hash) " OR_FAIL("count(*) = cardinality($2)")
          " FROM w JOIN unnest($2, $3, $4) AS n(level, node_index, hash)"
          " ON w.ledger_id = $1 AND w.level = n.level AND w.node_index = n.node_index"
          " AND w.hash = n.hash",
      .param_count = TYPE_COUNT(types),
      .param_types = types,
  };
  return &statement;
}

/* The same of what is stored, as a trigger may change a node after it was returned. */
const struct pg_statement *append_compare_nodes_statement(void) {
  static const Oid types[] = {PG_INT8, PG_INT2_ARRAY, PG_INT8_ARRAY, PG_BYTEA_ARRAY};
  static const struct pg_statement statement = {
      .name = "append_compare_nodes",
      .sql = OR_FAIL("count(*) = cardinality($2)") " FROM unnest($2, $3, $4)"
             " AS n(level, node_index, hash) CROSS JOIN LATERAL (SELECT FROM ONLY ledger_nodes w"
             " WHERE w.ledger_id = $1 AND w.level = n.level AND w.node_index = n.node_index"
             " AND w.hash = n.hash LIMIT 1) AS stored",
      .param_count = TYPE_COUNT(types),
      .param_types = types,
  };
  return &statement;
}

/* Behind all that is written, whose locks keep everybody from changing the tables until the commit:
 * what it sees is what the rows went through. A trigger could have told the session not to wait for
 * the disk. */
static void sql_add_check(struct buf *out) {
  sql_add(out,
          " AND EXISTS (SELECT FROM ONLY ledgers WHERE ledger_id = $1 AND tree_size = $2 + $3"
          " AND owner = $8 AND edge = $9) AND ");
  sql_add(out, surroundings_fingerprint_sql());
  sql_add(out,
          " = $10 AND current_setting('synchronous_commit') <> 'off' THEN 1 ELSE " FAIL " END");
}

#define RECORD_IS_SAME                                                                             \
  "ledger_id = $1 AND first_sequence = $2 AND event_count = $3 AND leaf_hashes = $4"               \
  " AND root = $5 AND committed_at = $6 AND checkpoint IS NOT DISTINCT FROM $7"

static void sql_finish_record(struct buf *out, struct sql *sql, const char *name) {
  static const Oid types[] = {PG_INT8,        PG_INT8, PG_INT8, PG_BYTEA, PG_BYTEA,
                              PG_TIMESTAMPTZ, PG_TEXT, PG_UUID, PG_BYTEA, PG_INT8};
  sql_add_check(out);
  sql_finish_text(out, sql);
  sql->statement = (struct pg_statement){
      .name = name, .sql = sql->text, .param_count = TYPE_COUNT(types), .param_types = types};
}

const struct pg_statement *append_record_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  sql_add(&out,
          "WITH w AS (INSERT INTO ledger_batches (ledger_id, first_sequence, event_count,"
          "  leaf_hashes, root, committed_at, checkpoint)"
          " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING " RECORD_IS_SAME
          " AS is_same) SELECT CASE WHEN (TABLE w)");
  sql_finish_record(&out, &sql, "append_record");
  return &sql.statement;
}

const struct pg_statement *append_compare_record_statement(void) {
  static struct sql sql;
  struct buf out;
  if (!sql_begin(&sql, &out))
    return &sql.statement;
  sql_add(&out,
          "SELECT CASE WHEN EXISTS (SELECT FROM ONLY ledger_batches WHERE " RECORD_IS_SAME ")");
  sql_finish_record(&out, &sql, "append_compare_record");
  return &sql.statement;
}

/* Inside a DO it is part of the implicit transaction; by itself the server would warn of it. */
const struct pg_statement *append_constraints_statement(void) {
  static const struct pg_statement statement = {
      .sql = "DO $$ BEGIN SET CONSTRAINTS ALL IMMEDIATE; END $$"};
  return &statement;
}

const struct pg_statement *append_confirm_statement(void) {
  static const struct pg_statement statement = {
      .name = "append_confirm",
      .sql =
          "SELECT pg_logical_emit_message(true, 'auditstore', 'confirm')"
          " WHERE current_setting('synchronous_standby_names') <> ''",
  };
  return &statement;
}
