/*
 * sql: one statement built from the program's own text, with its binary parameters.
 *
 * Every sql_add_ function of a value appends "$n" to the text and the value to the parameters, so
 * that no input ever becomes part of the text. Callers check sizes first: what doesn't fit the
 * stated maxima is a bug of ours, and aborts.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "pg/pool.h"

#define SQL_MAX_PARAMS     24
#define SQL_MAX_TEXT_BYTES ((size_t)16 * 1024)
#define SQL_MAX_DATA_BYTES ((size_t)1024 * 1024)

struct sql {
  struct buf text;
  struct buf data;
  int count;
  size_t offsets[SQL_MAX_PARAMS]; /* of the values in data */
  int lengths[SQL_MAX_PARAMS];
  Oid types[SQL_MAX_PARAMS];
  const char *values[SQL_MAX_PARAMS]; /* filled by sql_params() */
  struct pg_statement statement;      /* filled by sql_statement() */
};

void sql_init(struct sql *sql);
void sql_deinit(struct sql *sql); /* a zeroed one is fine */

/* What it takes in memory. */
size_t sql_bytes(const struct sql *sql);

void sql_add(struct sql *sql, const char *text);
void sql_add_int8(struct sql *sql, int64_t value);
void sql_add_timestamptz(struct sql *sql, int64_t unix_us);
void sql_add_uuid(struct sql *sql, const struct uuid *value);
void sql_add_text(struct sql *sql, struct str value);
void sql_add_text_array(struct sql *sql, const ProtobufCBinaryData *values, size_t count);
void sql_add_int2_array(struct sql *sql, const int *values, size_t count);

/* The whole. Nothing may be added afterwards, and `sql` must outlive the pipeline. */
const struct pg_statement *sql_statement(struct sql *sql);
struct pg_params sql_params(struct sql *sql);
