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

/* Parameters of the insert: ledger, size, count, then one array per column of struct event, then
 * received_at and place (the event's index in the caller's order). The lookup has the arrays only.
 */
#define INSERT_SCALARS 3
#define ROW_ARRAYS     (EVENT_COLUMN_COUNT + 2)
#define INSERT_PARAMS  (INSERT_SCALARS + ROW_ARRAYS)

struct appender {
  struct buf encoded; /* all parameters, one behind the other */
  int *order;         /* owned; indices of the items by event_id and time */
  int order_cap;
  int param_count;
  size_t offsets[INSERT_PARAMS + 1];
  const char *values[INSERT_PARAMS];
  int lengths[INSERT_PARAMS];
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
  Oid types[INSERT_PARAMS];
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
  sql_add(out, "received_at, place)");
}

static void sql_finish(struct buf *out, struct sql *sql, int first_array) {
  memcpy(sql->text, buf_bytes(out), buf_len(out));
  sql->text[buf_len(out)] = '\0';
  buf_deinit(out);
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    sql->types[first_array + i] = (Oid)event_columns[i].array;
  sql->types[first_array + EVENT_COLUMN_COUNT] = PG_TIMESTAMPTZ_ARRAY;
  sql->types[first_array + EVENT_COLUMN_COUNT + 1] = PG_INT4_ARRAY;
}

static void make_insert(struct sql *sql) {
  struct buf out;
  buf_init(&out, SQL_MAX_BYTES - 1);
  sql_add(&out,
          "WITH head AS (UPDATE ledgers SET tree_size = tree_size + $3"
          " WHERE ledger_id = $1 AND tree_size = $2 RETURNING tree_size - $3 AS size)"
          " INSERT INTO audit_events (");
  sql_add_names(&out, "");
  sql_add(&out, "received_at, ledger_id, sequence) SELECT ");
  sql_add_names(&out, "u.");
  sql_add(&out, "u.received_at, $1, head.size + u.place FROM head, ");
  sql_add_unnest(&out, INSERT_SCALARS + 1);
  sql_finish(&out, sql, INSERT_SCALARS);
  for (int i = 0; i < INSERT_SCALARS; i++)
    sql->types[i] = PG_INT8;
}

/* The subquery is a lateral one with a limit so that each id is always looked up in the primary
 * key, whatever the planner believes of the tables' sizes when the statement is prepared. */
static void make_lookup(struct sql *sql) {
  struct buf out;
  buf_init(&out, SQL_MAX_BYTES - 1);
  sql_add(&out, "SELECT u.place, e.ledger_id, e.sequence, e.received_at, ");
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
          " AND a.event_time = u.event_time LIMIT 1) AS e");
  sql_finish(&out, sql, 0);
}

static const struct pg_statement *insert_statement(void) {
  static struct sql sql;
  static struct pg_statement statement = {.name = "append_insert",
                                          .param_count = INSERT_PARAMS,
                                          .sql = sql.text,
                                          .param_types = sql.types};
  if (!sql.text[0])
    make_insert(&sql);
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
  a->offsets[a->param_count++] = buf_len(&a->encoded);
}

static void put_scalar(struct appender *a, int64_t value) {
  param_begin(a);
  bool ok = buf_append_be64(&a->encoded, (uint64_t)value);
  assert(ok);
  (void)ok;
}

static void put_column(struct appender *a, const struct event_column *column,
                       const struct append_item *items, int count) {
  param_begin(a);
  bool ok = pg_put_array(&a->encoded, column->element, count, column->is_nullable);
  for (int i = 0; i < count; i++)
    ok = column->put(&a->encoded, items[a->order[i]].event, column->text) && ok;
  assert(ok);
  (void)ok;
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
static void appender_send(struct appender *a, struct pg_lease *conn,
                          const struct pg_statement *statement) {
  assert(a->param_count == statement->param_count);
  a->offsets[a->param_count] = buf_len(&a->encoded);
  for (int i = 0; i < a->param_count; i++) {
    a->values[i] = (const char *)buf_bytes(&a->encoded) + a->offsets[i];
    a->lengths[i] = (int)(a->offsets[i + 1] - a->offsets[i]);
  }
  pg_send(conn, statement, &(struct pg_params){.values = a->values, .lengths = a->lengths});
}

void append_send(struct appender *a, struct pg_lease *conn, struct append_place place,
                 const struct append_item *items, int count) {
  assert(count > 0);
  appender_begin(a);
  put_scalar(a, place.ledger_id);
  put_scalar(a, place.size);
  put_scalar(a, count);
  put_rows(a, items, count);
  appender_send(a, conn, insert_statement());
}

bool append_was_written(const PGresult *result, int count) {
  const char *rows = PQcmdTuples((PGresult *)result);
  return strtol(rows, NULL, 10) == count;
}

void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count) {
  assert(count > 0);
  appender_begin(a);
  put_rows(a, items, count);
  appender_send(a, conn, lookup_statement());
}

/* ---- the ledger's size ---- */

/* The update that changes nothing makes us wait for a writer that is still at it, such as the
 * server's end of a connection that was lost. */
void append_send_open(struct pg_lease *conn, int64_t ledger_id) {
  static const Oid types[] = {PG_INT8};
  static const struct pg_statement statement = {
      .name = "append_open",
      .sql =
          "INSERT INTO ledgers AS l (ledger_id) VALUES ($1)"
          " ON CONFLICT (ledger_id) DO UPDATE SET tree_size = l.tree_size RETURNING tree_size",
      .param_count = 1,
      .param_types = types,
  };
  uint64_t wire = htobe64((uint64_t)ledger_id);
  const char *value = (const char *)&wire;
  const int length = sizeof(wire);
  pg_send(conn, &statement, &(struct pg_params){.values = &value, .lengths = &length});
}

/* ---- results ---- */

int append_read_size(const PGresult *result, int64_t *ret_size, struct error *err) {
  if (PQntuples(result) != 1 || PQnfields(result) != 1 ||
      !pg_get_int8(pg_field(result, 0, 0), ret_size))
    return error_set(err, ERR_INTERNAL, "the size of a ledger can't be read");
  return 0;
}

int append_match_count(const PGresult *result) {
  return PQntuples(result);
}

int append_read_match(const PGresult *result, int row, struct append_match *ret_match,
                      struct error *err) {
  struct append_match match = {0};
  int32_t index = 0;
  if (PQnfields(result) != 5 || !pg_get_int4(pg_field(result, row, 0), &index) ||
      !pg_get_int8(pg_field(result, row, 1), &match.ledger_id) ||
      !pg_get_int8(pg_field(result, row, 2), &match.sequence) ||
      !pg_get_timestamptz(pg_field(result, row, 3), &match.received_us) ||
      !pg_get_bool(pg_field(result, row, 4), &match.is_same))
    return error_set(err, ERR_INTERNAL, "a stored event's place can't be read");
  match.index = index;
  *ret_match = match;
  return 0;
}
