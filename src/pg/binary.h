/*
 * binary: PostgreSQL's binary parameter and result formats.
 *
 * Encoders append to a buf; decoders read a borrowed value and return false when its length isn't
 * that of the type. Formats: the send functions in PostgreSQL 15, src/backend/utils/adt.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"

/* Type OIDs of pg_type.dat. */
enum pg_type {
  PG_BOOL = 16,
  PG_BYTEA = 17,
  PG_INT8 = 20,
  PG_INT2 = 21,
  PG_INT4 = 23,
  PG_TEXT = 25,
  PG_JSON = 114,
  PG_INET = 869,
  PG_TIMESTAMPTZ = 1184,
  PG_UUID = 2950,
  PG_JSON_ARRAY = 199,
  PG_BOOL_ARRAY = 1000,
  PG_BYTEA_ARRAY = 1001,
  PG_INT2_ARRAY = 1005,
  PG_INT4_ARRAY = 1007,
  PG_TEXT_ARRAY = 1009,
  PG_INT8_ARRAY = 1016,
  PG_INET_ARRAY = 1041,
  PG_TIMESTAMPTZ_ARRAY = 1185,
  PG_UUID_ARRAY = 2951,
};

/* An address as inet carries it. */
struct pg_inet {
  uint8_t length; /* 4 or 16; 0: absent */
  uint8_t bytes[16];
};

/* A time as a timestamptz counts it: a parameter that is no array holds that as a big-endian int8.
 */
int64_t pg_timestamptz(int64_t unix_us);

/* The address's canonical text; how long it is, without its NUL. */
#define PG_INET_TEXT_SIZE 46
size_t pg_inet_format(const struct pg_inet *inet, char ret_text[PG_INET_TEXT_SIZE]);

/* Starts a one-dimensional array of `count` elements; then each element is appended with one of the
 * pg_put_ functions below. `has_null` must say whether any is NULL. */
bool pg_put_array(struct buf *out, enum pg_type element, int count, bool has_null);

/* Each writes a 4-byte length and the value: the form of an array element. */
bool pg_put_null(struct buf *out);
bool pg_put_bool(struct buf *out, bool value);
bool pg_put_int2(struct buf *out, int16_t value);
bool pg_put_int4(struct buf *out, int32_t value);
bool pg_put_int8(struct buf *out, int64_t value);
bool pg_put_text(struct buf *out, struct str value); /* text, json and bytea */
bool pg_put_uuid(struct buf *out, const struct uuid *value);
bool pg_put_timestamptz(struct buf *out, int64_t unix_us);
bool pg_put_inet(struct buf *out, const struct pg_inet *value);

/* A field of a result, borrowed from it; empty when it is NULL. */
static inline struct str pg_field(const PGresult *result, int row, int column) {
  return str_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

/* Values as they stand in a result field. */
bool pg_get_bool(struct str value, bool *ret);
bool pg_get_int2(struct str value, int16_t *ret);
bool pg_get_int4(struct str value, int32_t *ret);
bool pg_get_int8(struct str value, int64_t *ret);
bool pg_get_uuid(struct str value, struct uuid *ret);
bool pg_get_timestamptz(struct str value, int64_t *ret_unix_us);
bool pg_get_inet(struct str value, struct pg_inet *ret);
