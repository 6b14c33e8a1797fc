#include "ledger/append.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ledger/rows.h"

/* PostgreSQL refuses messages of 1 GiB; the callers' own bounds lie far below. */
#define ENCODED_MAX_BYTES (1024LL * 1024 * 1024 - 1024)
#define SQL_MAX_BYTES     16384

/* Parameters of the events' insert: the ledger and the first sequence, then one array per column of
 * struct event, then received_at, principal and place (the event's index in the caller's order).
 * The lookup has the arrays alone. */
#define EVENT_SCALARS 2
#define ROW_ARRAYS    (EVENT_COLUMN_COUNT + 3)
#define PARAMS_MAX    (EVENT_SCALARS + ROW_ARRAYS)

/* Before the one element of an array: number of dimensions, flags, type, length, lower bound. */
#define ARRAY_HEADER_BYTES 20

/* Each stored level stands for so many of the log. */
#define STORED_LEVEL_STEP 8

struct appender {
  struct buf encoded; /* all parameters, one behind the other */
  int *order;         /* owned; indices of the items by event_id and time */
  int order_cap;
  int param_count;
  size_t offsets[PARAMS_MAX + 1];
  bool is_null[PARAMS_MAX];
  const char *values[PARAMS_MAX];
  int lengths[PARAMS_MAX];
};

struct appender *appender_new(void) {
  struct appender *a = xcalloc(1, sizeof(*a));
  buf_init(&a->encoded, ENCODED_MAX_BYTES);
  return a;
}

void appender_free(struct appender *a) {
  if (!a)
    return;
  buf_deinit(&a->encoded);
  free(a->order);
  free(a);
}

/* ---- SQL, made once from event_columns ---- */

struct sql {
  char text[SQL_MAX_BYTES];
  Oid types[PARAMS_MAX];
};

static void sql_add(struct buf *out, const char *text) {
  bool ok = buf_append_str(out, text);
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
  for (int i = 0; i < ROW_ARRAYS; i++) {
    bool ok = buf_append_format(out, "%s$%d", i ? ", " : "", first_param + i);
    assert(ok);
    (void)ok;
  }
  sql_add(out, ") AS u(");
  sql_add_names(out, "");
  sql_add(out, "received_at, principal, place)");
}

static void sql_finish(struct buf *out, struct sql *sql, int first_array) {
  memcpy(sql->text, buf_bytes(out), buf_len(out));
  sql->text[buf_len(out)] = '\0';
  buf_deinit(out);
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    sql->types[first_array + i] = (Oid)event_columns[i].array;
  sql->types[first_array + EVENT_COLUMN_COUNT] = PG_TIMESTAMPTZ_ARRAY;
  sql->types[first_array + EVENT_COLUMN_COUNT + 1] = PG_TEXT_ARRAY;
  sql->types[first_array + EVENT_COLUMN_COUNT + 2] = PG_INT4_ARRAY;
}

static void make_insert(struct sql *sql) {
  struct buf out;
  buf_init(&out, SQL_MAX_BYTES - 1);
  sql_add(&out, "INSERT INTO audit_events (");
  sql_add_names(&out, "");
  sql_add(&out, "received_at, principal, ledger_id, sequence) SELECT ");
  sql_add_names(&out, "u.");
  sql_add(&out, "u.received_at, u.principal, $1, $2 + u.place FROM ");
  sql_add_unnest(&out, EVENT_SCALARS + 1);
  sql_finish(&out, sql, EVENT_SCALARS);
  for (int i = 0; i < EVENT_SCALARS; i++)
    sql->types[i] = PG_INT8;
}

/* A single event has no need of arrays: PostgreSQL takes 50 us to set up the rows of 29 of them, as
 * long as it takes to insert the row. */
static void make_insert_one(struct sql *sql) {
  struct buf out;
  buf_init(&out, SQL_MAX_BYTES - 1);
  sql_add(&out, "INSERT INTO audit_events (");
  sql_add_names(&out, "");
  sql_add(&out, "received_at, principal, ledger_id, sequence) VALUES (");
  for (int i = 0; i < EVENT_COLUMN_COUNT + 2; i++) {
    bool ok = buf_append_format(&out, "$%d, ", EVENT_SCALARS + 1 + i);
    assert(ok);
    (void)ok;
  }
  bool ok = buf_append_format(&out, "$1, $2 + $%d)", PARAMS_MAX);
  assert(ok);
  (void)ok;
  sql_finish(&out, sql, EVENT_SCALARS);
  for (int i = 0; i < EVENT_SCALARS; i++)
    sql->types[i] = PG_INT8;
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    sql->types[EVENT_SCALARS + i] = (Oid)event_columns[i].element;
  sql->types[PARAMS_MAX - 3] = PG_TIMESTAMPTZ;
  sql->types[PARAMS_MAX - 2] = PG_TEXT;
  sql->types[PARAMS_MAX - 1] = PG_INT4;
}

/* The subquery is a lateral one with a limit so that each id is always looked up in the primary
 * key, whatever the planner believes of the tables' sizes when the statement is prepared. */
static void make_lookup(struct sql *sql) {
  struct buf out;
  buf_init(&out, SQL_MAX_BYTES - 1);
  sql_add(&out,
          "SELECT u.place, e.ledger_id, e.sequence, e.received_at,"
          " coalesce(b.committed_at, e.received_at), ");
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++) {
    const struct event_column *c = &event_columns[i];
    bool ok = buf_append_format(&out, "%se.%s%s IS NOT DISTINCT FROM u.%s%s", i ? " AND " : "",
                                c->name, c->cast, c->name, c->cast);
    assert(ok);
    (void)ok;
  }
  sql_add(&out, " FROM ");
  sql_add_unnest(&out, 1);
  sql_add(&out,
          " CROSS JOIN LATERAL (SELECT * FROM audit_events a WHERE a.event_id = u.event_id"
          " AND a.event_time = u.event_time LIMIT 1) AS e"
          " LEFT JOIN LATERAL (SELECT committed_at FROM ledger_batches"
          " WHERE ledger_id = e.ledger_id AND first_sequence <= e.sequence"
          " ORDER BY first_sequence DESC LIMIT 1) AS b ON true");
  sql_finish(&out, sql, 0);
}

static const struct pg_statement *insert_statement(void) {
  static struct sql sql;
  static struct pg_statement statement = {.name = "append_events",
                                          .param_count = PARAMS_MAX,
                                          .sql = sql.text,
                                          .param_types = sql.types};
  if (!sql.text[0])
    make_insert(&sql);
  return &statement;
}

static const struct pg_statement *insert_one_statement(void) {
  static struct sql sql;
  static struct pg_statement statement = {
      .name = "append_event", .param_count = PARAMS_MAX, .sql = sql.text, .param_types = sql.types};
  if (!sql.text[0])
    make_insert_one(&sql);
  return &statement;
}

static const struct pg_statement *lookup_statement(void) {
  static struct sql sql;
  static struct pg_statement statement = {.name = "append_lookup",
                                          .param_count = ROW_ARRAYS,
                                          .sql = sql.text,
                                          .param_types = sql.types};
  if (!sql.text[0])
    make_lookup(&sql);
  return &statement;
}

/* A ledger that isn't the claim's, or has another size or edge, would get the size -1, which its
 * constraint refuses: the transaction ends, and the events are gone with it. The edge tells when
 * the batch that this one was sent behind was written after all, but with other events. */
static const struct pg_statement *advance_statement(void) {
  static const Oid types[] = {
      PG_INT8,  /* $1 ledger */
      PG_INT8,  /* $2 its size */
      PG_INT8,  /* $3 how many events */
      PG_UUID,  /* $4 owner */
      PG_BYTEA, /* $5 edge before the batch */
      PG_BYTEA, /* $6 edge behind it */
      PG_INT8,  /* $7 lease, in microseconds */
  };
  static const struct pg_statement statement = {
      .name = "append_advance",
      .sql =
          "UPDATE ledgers SET edge = $6, leased_until = now() + $7 * interval '1 microsecond',"
          "  tree_size = CASE WHEN tree_size = $2 AND owner = $4 AND edge = $5"
          "  THEN tree_size + $3 ELSE -1 END"
          " WHERE ledger_id = $1",
      .param_count = sizeof(types) / sizeof(types[0]),
      .param_types = types,
  };
  return &statement;
}

/* A ledger whose row is gone gives no place. */
static const struct pg_statement *record_statement(void) {
  static const Oid types[] = {
      PG_INT8,        /* $1 ledger */
      PG_INT8,        /* $2 how many events */
      PG_BYTEA,       /* $3 leaf hashes */
      PG_BYTEA,       /* $4 root */
      PG_TIMESTAMPTZ, /* $5 committed_at */
      PG_TEXT,        /* $6 checkpoint */
  };
  static const struct pg_statement statement = {
      .name = "append_record",
      .sql =
          "INSERT INTO ledger_batches (ledger_id, first_sequence, event_count, leaf_hashes,"
          "  root, committed_at, checkpoint)"
          " VALUES ($1, coalesce((SELECT tree_size - $2 FROM ledgers WHERE ledger_id = $1), -1),"
          "  $2, $3, $4, $5, $6)",
      .param_count = sizeof(types) / sizeof(types[0]),
      .param_types = types,
  };
  return &statement;
}

static const struct pg_statement *nodes_statement(void) {
  static const Oid types[] = {PG_INT8, PG_INT2_ARRAY, PG_INT8_ARRAY, PG_BYTEA_ARRAY};
  static const struct pg_statement statement = {
      .name = "append_nodes",
      .sql =
          "INSERT INTO ledger_nodes (ledger_id, level, node_index, hash)"
          " SELECT $1, n.level, n.node_index, n.hash"
          " FROM unnest($2, $3, $4) AS n(level, node_index, hash)",
      .param_count = sizeof(types) / sizeof(types[0]),
      .param_types = types,
  };
  return &statement;
}

/* ---- encoding ---- */

static int compare_items(const void *a, const void *b, void *arg) {
  const struct append_item *items = arg;
  const struct event *x = items[*(const int *)a].event;
  const struct event *y = items[*(const int *)b].event;
  int by_id = memcmp(x->id.bytes, y->id.bytes, sizeof(x->id.bytes));
  if (by_id)
    return by_id;
  return (x->time_us > y->time_us) - (x->time_us < y->time_us);
}

static void appender_sort(struct appender *a, const struct append_item *items, int count) {
  if (count > a->order_cap) {
    a->order = xrealloc(a->order, (size_t)count * sizeof(*a->order));
    a->order_cap = count;
  }
  for (int i = 0; i < count; i++)
    a->order[i] = i;
  qsort_r(a->order, (size_t)count, sizeof(*a->order), compare_items, (void *)items);
}

static void param_begin(struct appender *a) {
  a->is_null[a->param_count] = false;
  a->offsets[a->param_count++] = buf_len(&a->encoded);
}

static void put_bytes(struct appender *a, const void *data, size_t len) {
  param_begin(a);
  bool ok = buf_append(&a->encoded, data, len);
  assert(ok);
  (void)ok;
}

static void put_int8(struct appender *a, int64_t value) {
  param_begin(a);
  bool ok = buf_append_be64(&a->encoded, (uint64_t)value);
  assert(ok);
  (void)ok;
}

/* ---- the record ---- */

static void put_timestamptz(struct appender *a, int64_t unix_us) {
  put_int8(a, pg_timestamptz(unix_us));
}

static void put_edge(struct appender *a, const struct merkle_edge *edge) {
  param_begin(a);
  bool ok = merkle_edge_pack(edge, &a->encoded);
  assert(ok);
  (void)ok;
}

static void put_note(struct appender *a, const struct buf *note) {
  put_bytes(a, buf_bytes(note), buf_len(note));
  a->is_null[a->param_count - 1] = buf_len(note) == 0;
}

static int stored_nodes(const struct merkle_growth *growth) {
  int count = 0;
  for (int level = STORED_LEVEL_STEP; level < growth->level_count; level += STORED_LEVEL_STEP)
    count += growth->levels[level].count;
  return count;
}

/* Appends one property of a stored node in the form of an array element. */
typedef bool put_node(struct buf *out, int level, int64_t index, const struct merkle_hash *hash);

static bool put_level(struct buf *out, int level, int64_t index, const struct merkle_hash *hash) {
  (void)index;
  (void)hash;
  return pg_put_int2(out, (int16_t)level);
}

static bool put_index(struct buf *out, int level, int64_t index, const struct merkle_hash *hash) {
  (void)level;
  (void)hash;
  return pg_put_int8(out, index);
}

static bool put_hash(struct buf *out, int level, int64_t index, const struct merkle_hash *hash) {
  (void)level;
  (void)index;
  return pg_put_text(out, str_of(hash->bytes, MERKLE_HASH_SIZE));
}

static void put_nodes(struct appender *a, const struct merkle_growth *growth, enum pg_type element,
                      put_node *put) {
  param_begin(a);
  bool ok = pg_put_array(&a->encoded, element, stored_nodes(growth), false);
  for (int level = STORED_LEVEL_STEP; level < growth->level_count; level += STORED_LEVEL_STEP) {
    int64_t first = growth->levels[level].first;
    for (int64_t i = first; i < first + growth->levels[level].count; i++)
      ok = put(&a->encoded, level, i, merkle_growth_node(growth, level, i)) && ok;
  }
  assert(ok);
  (void)ok;
}

/* ---- the rows ---- */

static void put_column(struct appender *a, const struct event_column *column,
                       const struct append_item *items, int count) {
  param_begin(a);
  bool ok = pg_put_array(&a->encoded, column->element, count, column->is_nullable);
  for (int i = 0; i < count; i++)
    ok = column->put(&a->encoded, items[a->order[i]].event, column->text) && ok;
  assert(ok);
  (void)ok;
}

static bool put_principal(struct buf *out, struct str principal) {
  return principal.len ? pg_put_text(out, principal) : pg_put_null(out);
}

static void put_rows(struct appender *a, const struct append_item *items, int count) {
  appender_sort(a, items, count);
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    put_column(a, &event_columns[i], items, count);
  param_begin(a);
  bool ok = pg_put_array(&a->encoded, PG_TIMESTAMPTZ, count, false);
  for (int i = 0; i < count; i++)
    ok = pg_put_timestamptz(&a->encoded, items[a->order[i]].received_us) && ok;
  param_begin(a);
  ok = pg_put_array(&a->encoded, PG_TEXT, count, true) && ok;
  for (int i = 0; i < count; i++)
    ok = put_principal(&a->encoded, items[a->order[i]].principal) && ok;
  param_begin(a);
  ok = pg_put_array(&a->encoded, PG_INT4, count, false) && ok;
  for (int i = 0; i < count; i++)
    ok = pg_put_int4(&a->encoded, a->order[i]) && ok;
  assert(ok);
  (void)ok;
}

static void appender_begin(struct appender *a) {
  buf_clear(&a->encoded);
  a->param_count = 0;
}

/* The pointers are taken last: the buffer moves while it grows. */
static void appender_locate(struct appender *a) {
  a->offsets[a->param_count] = buf_len(&a->encoded);
  for (int i = 0; i < a->param_count; i++) {
    a->values[i] = a->is_null[i] ? NULL : (const char *)buf_bytes(&a->encoded) + a->offsets[i];
    a->lengths[i] = (int)(a->offsets[i + 1] - a->offsets[i]);
  }
}

/* From arrays of one element to the elements. */
static void appender_unwrap(struct appender *a, int first) {
  for (int i = first; i < a->param_count; i++) {
    uint32_t len;
    const char *element = a->values[i] + ARRAY_HEADER_BYTES;
    memcpy(&len, element, sizeof(len));
    a->lengths[i] = (int)be32toh(len);
    a->values[i] = a->lengths[i] < 0 ? NULL : element + sizeof(len);
  }
}

static void appender_send(struct appender *a, struct pg_lease *conn,
                          const struct pg_statement *statement) {
  assert(a->param_count == statement->param_count);
  pg_send(conn, statement, &(struct pg_params){.values = a->values, .lengths = a->lengths});
}

/* Two batches of the same number would wait for each other needlessly, no more. */
static int64_t turn_number(int64_t ledger_id, int64_t sequence) {
  return (int64_t)(((uint64_t)ledger_id << 40) ^ (uint64_t)sequence);
}

void append_send_turn(struct pg_lease *conn, int64_t ledger_id, int64_t sequence) {
  static const Oid types[] = {PG_INT8};
  static const struct pg_statement statement = {.name = "append_turn",
                                                .sql = "SELECT pg_advisory_xact_lock($1)",
                                                .param_count = 1,
                                                .param_types = types};
  uint64_t wire = htobe64((uint64_t)turn_number(ledger_id, sequence));
  const char *value = (const char *)&wire;
  int length = sizeof(wire);
  pg_send(conn, &statement, &(struct pg_params){.values = &value, .lengths = &length});
}

void append_send_events(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct append_item *items, int count) {
  assert(count > 0);
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_int8(a, claim->edge.size);
  put_rows(a, items, count);
  appender_locate(a);
  if (count == 1)
    appender_unwrap(a, EVENT_SCALARS);
  appender_send(a, conn, count == 1 ? insert_one_statement() : insert_statement());
}

static void send_nodes(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                       const struct merkle_growth *growth) {
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_nodes(a, growth, PG_INT2, put_level);
  put_nodes(a, growth, PG_INT8, put_index);
  put_nodes(a, growth, PG_BYTEA, put_hash);
  appender_locate(a);
  appender_send(a, conn, nodes_statement());
}

static int64_t event_count(const struct seal *seal) {
  return seal->growth.after.size - seal->growth.before.size;
}

void append_send_advance(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                         const struct seal *seal, int64_t lease_us) {
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_int8(a, claim->edge.size);
  put_int8(a, event_count(seal));
  put_bytes(a, claim->owner.bytes, sizeof(claim->owner.bytes));
  put_edge(a, &claim->edge);
  put_edge(a, &seal->growth.after);
  put_int8(a, lease_us);
  appender_locate(a);
  appender_send(a, conn, advance_statement());
}

void append_send_record(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct seal *seal) {
  const struct merkle_growth *growth = &seal->growth;
  if (stored_nodes(growth) > 0)
    send_nodes(a, conn, claim, growth);
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_int8(a, event_count(seal));
  put_bytes(a, growth->nodes, (size_t)event_count(seal) * MERKLE_HASH_SIZE);
  put_bytes(a, seal->root.bytes, MERKLE_HASH_SIZE);
  put_timestamptz(a, seal->committed_us);
  put_note(a, &seal->note);
  appender_locate(a);
  appender_send(a, conn, record_statement());
}

/* Whatever else breaks a constraint of the ledgers' tables means that they aren't as we know them
 * too. */
bool append_is_stale(const struct pg_outcome *outcome) {
  static const char prefix[] = "ledger";
  return outcome->kind == PG_REFUSED &&
         strncmp(outcome->constraint, prefix, sizeof(prefix) - 1) == 0;
}

void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count) {
  assert(count > 0);
  appender_begin(a);
  put_rows(a, items, count);
  appender_locate(a);
  appender_send(a, conn, lookup_statement());
}

/* ---- results ---- */

int append_match_count(const PGresult *result) {
  return PQntuples(result);
}

int append_read_match(const PGresult *result, int row, struct append_match *ret_match,
                      struct error *err) {
  struct append_match match = {0};
  int32_t index = 0;
  if (PQnfields(result) != 6 || !pg_get_int4(pg_field(result, row, 0), &index) ||
      !pg_get_int8(pg_field(result, row, 1), &match.place.ledger_id) ||
      !pg_get_int8(pg_field(result, row, 2), &match.place.sequence) ||
      !pg_get_timestamptz(pg_field(result, row, 3), &match.place.received_us) ||
      !pg_get_timestamptz(pg_field(result, row, 4), &match.committed_us) ||
      !pg_get_bool(pg_field(result, row, 5), &match.is_same))
    return error_set(err, ERR_INTERNAL, "a stored event's place can't be read");
  match.index = index;
  *ret_match = match;
  return 0;
}
