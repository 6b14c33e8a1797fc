#include "ledger/append.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ledger/append_sql.h"

/* PostgreSQL refuses messages of 1 GiB; the callers' own bounds lie far below. */
#define ENCODED_MAX_BYTES (1024LL * 1024 * 1024 - 1024)

/* Before the one element of an array: number of dimensions, flags, type, length, lower bound. */
#define ARRAY_HEADER_BYTES 20

/* PostgreSQL's word for a statement that a rule stands in the way of, or whose columns have other
 * types than when it was prepared. */
#define FEATURE_NOT_SUPPORTED "0A000"
#define NOT_A_NUMBER          "22P02"
#define UNIQUE_VIOLATION      "23505"

/* Each stored level stands for so many of the log. */
#define STORED_LEVEL_STEP 8

struct appender {
  struct buf encoded; /* all parameters, one behind the other */
  int *order;         /* owned; indices of the items by event_id and time */
  int order_cap;
  int param_count;
  size_t offsets[APPEND_PARAMS_MAX + 1];
  bool is_null[APPEND_PARAMS_MAX];
  const char *values[APPEND_PARAMS_MAX];
  int lengths[APPEND_PARAMS_MAX];
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

/* ---- encoding ---- */

static int compare_items(const void *a, const void *b, void *arg) {
  const struct append_item *items = arg;
  return event_compare_keys(items[*(const int *)a].event, items[*(const int *)b].event);
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

static void put_placed_rows(struct appender *a, const struct claim *claim,
                            const struct append_item *items, int count) {
  assert(count > 0);
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_int8(a, claim->edge.size);
  put_int8(a, count);
  put_rows(a, items, count);
  appender_locate(a);
}

void append_send_events(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct append_item *items, int count) {
  put_placed_rows(a, claim, items, count);
  if (count == 1)
    appender_unwrap(a, APPEND_EVENT_SCALARS);
  appender_send(a, conn, count == 1 ? append_insert_one_statement() : append_insert_statement());
}

static void send_nodes(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                       const struct merkle_growth *growth, const struct pg_statement *statement) {
  if (stored_nodes(growth) == 0)
    return;
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_nodes(a, growth, PG_INT2, put_level);
  put_nodes(a, growth, PG_INT8, put_index);
  put_nodes(a, growth, PG_BYTEA, put_hash);
  appender_locate(a);
  appender_send(a, conn, statement);
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
  appender_send(a, conn, append_advance_statement());
}

static void send_record(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct seal *seal, const struct pg_statement *statement) {
  appender_begin(a);
  put_int8(a, claim->ledger_id);
  put_int8(a, claim->edge.size);
  put_int8(a, event_count(seal));
  put_bytes(a, seal->growth.nodes, (size_t)event_count(seal) * MERKLE_HASH_SIZE);
  put_bytes(a, seal->root.bytes, MERKLE_HASH_SIZE);
  put_timestamptz(a, seal->committed_us);
  put_note(a, &seal->note);
  put_bytes(a, claim->owner.bytes, sizeof(claim->owner.bytes));
  put_edge(a, &seal->growth.after);
  put_int8(a, claim->fingerprint);
  appender_locate(a);
  appender_send(a, conn, statement);
}

void append_send_record(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                        const struct seal *seal) {
  send_nodes(a, conn, claim, &seal->growth, append_nodes_statement());
  send_record(a, conn, claim, seal, append_record_statement());
}

void append_send_compare(struct appender *a, struct pg_lease *conn, const struct claim *claim,
                         const struct seal *seal, const struct append_item *items) {
  pg_send(conn, append_constraints_statement(), NULL);
  put_placed_rows(a, claim, items, (int)event_count(seal));
  appender_send(a, conn, append_compare_statement());
  send_nodes(a, conn, claim, &seal->growth, append_compare_nodes_statement());
  send_record(a, conn, claim, seal, append_compare_record_statement());
}

/* Events, advance, nodes, record, constraints. */
int append_count_before_compare(const struct seal *seal) {
  return 4 + (stored_nodes(&seal->growth) > 0 ? 1 : 0);
}

/* ---- how a write ends ---- */

static bool is_refused_by(const struct pg_outcome *outcome, const char *constraint) {
  return outcome->kind == PG_REFUSED && strcmp(outcome->constraint, constraint) == 0;
}

bool append_is_stale(const struct pg_outcome *outcome) {
  return append_is_in_the_way(outcome) || is_refused_by(outcome, "ledgers_tree_size_check");
}

bool append_is_in_the_way(const struct pg_outcome *outcome) {
  return is_refused_by(outcome, "ledger_batches_pkey") ||
         is_refused_by(outcome, "ledger_nodes_pkey");
}

bool append_is_altered(const struct pg_outcome *outcome) {
  bool is_marked = strcmp(outcome->sqlstate, NOT_A_NUMBER) == 0 &&
                   strstr(outcome->err.text, APPEND_ALTERED_MARK) != NULL;
  return outcome->kind == PG_REFUSED && (is_marked || append_may_have_stale_plans(outcome));
}

bool append_may_have_stale_plans(const struct pg_outcome *outcome) {
  return outcome->kind == PG_REFUSED && strcmp(outcome->sqlstate, FEATURE_NOT_SUPPORTED) == 0;
}

bool append_is_answer(const struct pg_outcome *outcome) {
  bool is_duplicate =
      outcome->kind == PG_REFUSED && strcmp(outcome->sqlstate, UNIQUE_VIOLATION) == 0;
  return is_duplicate || append_is_stale(outcome) || append_is_altered(outcome);
}

void append_send_lookup(struct appender *a, struct pg_lease *conn, const struct append_item *items,
                        int count) {
  assert(count > 0);
  appender_begin(a);
  put_rows(a, items, count);
  appender_locate(a);
  appender_send(a, conn, append_lookup_statement());
  pg_send(conn, append_confirm_statement(), NULL);
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
