#include "query/sql.h"

#include "pg/binary.h"

#include <assert.h>

/* The length that pg_put_ functions write before a value; parameters are told theirs apart. */
#define LENGTH_BYTES 4

static void must(bool ok) {
  assert(ok);
  (void)ok;
}

void sql_init(struct sql *sql) {
  buf_init(&sql->text, SQL_MAX_TEXT_BYTES);
  buf_init(&sql->data, SQL_MAX_DATA_BYTES);
  sql->count = 0;
}

void sql_deinit(struct sql *sql) {
  buf_deinit(&sql->text);
  buf_deinit(&sql->data);
}

size_t sql_bytes(const struct sql *sql) {
  return sql->text.cap + sql->data.cap;
}

void sql_add(struct sql *sql, const char *text) {
  must(buf_append_str(&sql->text, text));
}

/* The value is what was appended to the data since `offset`. */
static void add_param(struct sql *sql, enum pg_type type, size_t offset) {
  int i = sql->count++;
  assert(i < SQL_MAX_PARAMS);
  sql->offsets[i] = offset;
  sql->lengths[i] = (int)(buf_len(&sql->data) - offset);
  sql->types[i] = (Oid)type;
  must(buf_append_format(&sql->text, "$%d", i + 1));
}

void sql_add_int8(struct sql *sql, int64_t value) {
  size_t offset = buf_len(&sql->data) + LENGTH_BYTES;
  must(pg_put_int8(&sql->data, value));
  add_param(sql, PG_INT8, offset);
}

void sql_add_timestamptz(struct sql *sql, int64_t unix_us) {
  size_t offset = buf_len(&sql->data) + LENGTH_BYTES;
  must(pg_put_timestamptz(&sql->data, unix_us));
  add_param(sql, PG_TIMESTAMPTZ, offset);
}

void sql_add_uuid(struct sql *sql, const struct uuid *value) {
  size_t offset = buf_len(&sql->data) + LENGTH_BYTES;
  must(pg_put_uuid(&sql->data, value));
  add_param(sql, PG_UUID, offset);
}

void sql_add_text(struct sql *sql, struct str value) {
  size_t offset = buf_len(&sql->data) + LENGTH_BYTES;
  must(pg_put_text(&sql->data, value));
  add_param(sql, PG_TEXT, offset);
}

void sql_add_text_array(struct sql *sql, const ProtobufCBinaryData *values, size_t count) {
  size_t offset = buf_len(&sql->data);
  must(pg_put_array(&sql->data, PG_TEXT, (int)count, false));
  for (size_t i = 0; i < count; i++)
    must(pg_put_text(&sql->data, str_of(values[i].data, values[i].len)));
  add_param(sql, PG_TEXT_ARRAY, offset);
}

void sql_add_int2_array(struct sql *sql, const int *values, size_t count) {
  size_t offset = buf_len(&sql->data);
  must(pg_put_array(&sql->data, PG_INT2, (int)count, false));
  for (size_t i = 0; i < count; i++)
    must(pg_put_int2(&sql->data, (int16_t)values[i]));
  add_param(sql, PG_INT2_ARRAY, offset);
}

const struct pg_statement *sql_statement(struct sql *sql) {
  /* A NUL behind the text, outside its length. */
  uint8_t *end = buf_reserve(&sql->text, 1);
  must(end != NULL);
  *end = '\0';
  sql->statement = (struct pg_statement){.sql = (const char *)buf_bytes(&sql->text),
                                         .param_count = sql->count,
                                         .param_types = sql->types};
  return &sql->statement;
}

struct pg_params sql_params(struct sql *sql) {
  for (int i = 0; i < sql->count; i++)
    sql->values[i] = (const char *)buf_bytes(&sql->data) + sql->offsets[i];
  return (struct pg_params){.values = sql->values, .lengths = sql->lengths};
}
