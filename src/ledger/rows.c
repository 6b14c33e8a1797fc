#include "ledger/rows.h"

#include <assert.h>

/* All texts, and more than any column takes besides: a length, or a value. */
#define COMPARE_MAX_BYTES (EVENT_TEXTS_MAX_BYTES + EVENT_COLUMN_COUNT * 32UL)
#define SQL_MAX_BYTES     4096
#define PLACE_COLUMNS     4

/* ---- one pair of functions per column: a value out, a value in ---- */

static bool put_id(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return pg_put_uuid(out, &e->id);
}
static bool get_id(struct str value, enum event_text text, struct event *e) {
  (void)text;
  return pg_get_uuid(value, &e->id);
}

static bool put_time(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return pg_put_timestamptz(out, e->time_us);
}
static bool get_time(struct str value, enum event_text text, struct event *e) {
  (void)text;
  return pg_get_timestamptz(value, &e->time_us);
}

static bool put_outcome(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return pg_put_int2(out, e->outcome);
}
static bool get_outcome(struct str value, enum event_text text, struct event *e) {
  (void)text;
  int16_t outcome = 0;
  if (!pg_get_int2(value, &outcome) || outcome < 0 || outcome > UINT8_MAX)
    return false;
  e->outcome = (uint8_t)outcome;
  return true;
}

static bool put_severity(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return e->severity ? pg_put_int2(out, e->severity) : pg_put_null(out);
}
static bool get_severity(struct str value, enum event_text text, struct event *e) {
  (void)text;
  int16_t severity = 0;
  if (value.data && (!pg_get_int2(value, &severity) || severity < 0 || severity > UINT8_MAX))
    return false;
  e->severity = (uint8_t)severity;
  return true;
}

static bool put_actor_ip(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return e->actor_ip.length ? pg_put_inet(out, &e->actor_ip) : pg_put_null(out);
}
static bool get_actor_ip(struct str value, enum event_text text, struct event *e) {
  (void)text;
  e->actor_ip = (struct pg_inet){.length = 0};
  return !value.data || pg_get_inet(value, &e->actor_ip);
}

static bool put_parent(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return e->has_parent ? pg_put_uuid(out, &e->parent_id) : pg_put_null(out);
}
static bool get_parent(struct str value, enum event_text text, struct event *e) {
  (void)text;
  e->has_parent = value.data != NULL;
  return !value.data || pg_get_uuid(value, &e->parent_id);
}

static bool put_duration(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return e->duration_us >= 0 ? pg_put_int8(out, e->duration_us) : pg_put_null(out);
}
static bool get_duration(struct str value, enum event_text text, struct event *e) {
  (void)text;
  e->duration_us = -1;
  return !value.data || (pg_get_int8(value, &e->duration_us) && e->duration_us >= 0);
}

static bool put_retention(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return e->retention_days ? pg_put_int4(out, e->retention_days) : pg_put_null(out);
}
static bool get_retention(struct str value, enum event_text text, struct event *e) {
  (void)text;
  e->retention_days = 0;
  return !value.data || pg_get_int4(value, &e->retention_days);
}

static bool put_sensitive(struct buf *out, const struct event *e, enum event_text text) {
  (void)text;
  return pg_put_bool(out, e->is_sensitive);
}
static bool get_sensitive(struct str value, enum event_text text, struct event *e) {
  (void)text;
  return pg_get_bool(value, &e->is_sensitive);
}

static bool put_text(struct buf *out, const struct event *e, enum event_text text) {
  return e->text[text].len ? pg_put_text(out, e->text[text]) : pg_put_null(out);
}
static bool get_text(struct str value, enum event_text text, struct event *e) {
  e->text[text] = value;
  return true;
}

/* ---- the list ---- */

#define COLUMN(column, type, nullable, functions)                                                  \
  {                                                                                                \
    .name = (column), .cast = "", .element = PG_##type, .array = PG_##type##_ARRAY,                \
    .is_nullable = (nullable), .put = put_##functions, .get = get_##functions                      \
  }
#define TEXT_ARRAY_OF(index) ((index) == EVENT_TEXT_EVENT_DATA ? PG_JSON_ARRAY : PG_TEXT_ARRAY)
#define TEXT_COLUMN(field, path, column, max_bytes, required)                                      \
  {                                                                                                \
      .name = (column),                                                                            \
      .cast = EVENT_TEXT_##field == EVENT_TEXT_EVENT_DATA ? "::text" : "",                         \
      .element = EVENT_TEXT_##field == EVENT_TEXT_EVENT_DATA ? PG_JSON : PG_TEXT,                  \
      .array = TEXT_ARRAY_OF(EVENT_TEXT_##field),                                                  \
      .is_nullable = !(required),                                                                  \
      .text = EVENT_TEXT_##field,                                                                  \
      .put = put_text,                                                                             \
      .get = get_text,                                                                             \
  },

const struct event_column event_columns[EVENT_COLUMN_COUNT] = {
    COLUMN("event_id", UUID, false, id),         COLUMN("event_time", TIMESTAMPTZ, false, time),
    COLUMN("outcome", INT2, false, outcome),     COLUMN("severity", INT2, true, severity),
    COLUMN("actor_ip", INET, true, actor_ip),    COLUMN("parent_event_id", UUID, true, parent),
    COLUMN("duration_us", INT8, true, duration), COLUMN("retention_days", INT4, true, retention),
    COLUMN("sensitive", BOOL, false, sensitive), EVENT_TEXT_FIELDS(TEXT_COLUMN)};

/* ---- operations on whole rows ---- */

static void put_all(struct buf *out, const struct event *e) {
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++) {
    bool ok = event_columns[i].put(out, e, event_columns[i].text);
    assert(ok);
    (void)ok;
  }
}

bool event_is_same(const struct event *a, const struct event *b) {
  struct buf encoded[2];
  const struct event *events[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    buf_init(&encoded[i], COMPARE_MAX_BYTES);
    put_all(&encoded[i], events[i]);
  }
  size_t len = buf_len(&encoded[0]);
  bool is_same = len == buf_len(&encoded[1]) &&
                 memcmp(buf_bytes(&encoded[0]), buf_bytes(&encoded[1]), len) == 0;
  buf_deinit(&encoded[0]);
  buf_deinit(&encoded[1]);
  return is_same;
}

static void write_row_columns(char *text, size_t size) {
  struct buf sql;
  buf_init(&sql, size - 1);
  bool ok = true;
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++)
    ok = ok && buf_append_format(&sql, "e.%s%s, ", event_columns[i].name, event_columns[i].cast);
  ok = ok && buf_append_str(&sql, "e.received_at, e.ledger_id, e.sequence, e.principal");
  assert(ok);
  (void)ok;
  memcpy(text, buf_bytes(&sql), buf_len(&sql));
  text[buf_len(&sql)] = '\0';
  buf_deinit(&sql);
}

const char *event_row_columns(void) {
  static char text[SQL_MAX_BYTES];
  if (!text[0])
    write_row_columns(text, sizeof(text));
  return text;
}

static struct str row_value(const PGresult *result, int row, int column) {
  if (PQgetisnull(result, row, column))
    return (struct str){.data = NULL};
  return pg_field(result, row, column);
}

int event_row_read(const PGresult *result, int row, struct stored_event *ret_stored,
                   struct error *err) {
  if (PQnfields(result) < EVENT_COLUMN_COUNT + PLACE_COLUMNS)
    return error_set(err, ERR_INTERNAL, "a row of audit_events has only %d columns",
                     PQnfields(result));
  struct stored_event stored = {0};
  for (int i = 0; i < EVENT_COLUMN_COUNT; i++) {
    const struct event_column *column = &event_columns[i];
    struct str value = row_value(result, row, i);
    if ((!value.data && !column->is_nullable) || !column->get(value, column->text, &stored.event))
      return error_set(err, ERR_INTERNAL, "audit_events.%s: unexpected value", column->name);
  }
  if (!pg_get_timestamptz(row_value(result, row, EVENT_COLUMN_COUNT), &stored.place.received_us) ||
      !pg_get_int8(row_value(result, row, EVENT_COLUMN_COUNT + 1), &stored.place.ledger_id) ||
      !pg_get_int8(row_value(result, row, EVENT_COLUMN_COUNT + 2), &stored.place.sequence))
    return error_set(err, ERR_INTERNAL, "audit_events: unexpected place of an event");
  stored.place.principal = row_value(result, row, EVENT_COLUMN_COUNT + 3);
  *ret_stored = stored;
  return 0;
}
