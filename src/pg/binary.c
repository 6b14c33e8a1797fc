#include "pg/binary.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

/* 2000-01-01T00:00:00Z, where PostgreSQL's timestamps begin. */
#define PG_EPOCH_UNIX_US 946684800000000LL

/* Address families as inet's binary form has them: not the system's AF_INET6. */
enum { INET_FAMILY_4 = 2, INET_FAMILY_6 = 3, INET_HEADER_BYTES = 4 };

/* inet_ntop() takes sprintf() for it, which showed in profiles of ingest. */
static size_t format_ipv4(const uint8_t bytes[4], char *ret_text) {
  char *at = ret_text;
  for (int i = 0; i < 4; i++) {
    unsigned number = bytes[i];
    if (i > 0)
      *at++ = '.';
    if (number >= 100)
      *at++ = (char)('0' + number / 100);
    if (number >= 10)
      *at++ = (char)('0' + number / 10 % 10);
    *at++ = (char)('0' + number % 10);
  }
  *at = '\0';
  return (size_t)(at - ret_text);
}

size_t pg_inet_format(const struct pg_inet *inet, char ret_text[PG_INET_TEXT_SIZE]) {
  assert(inet->length == 4 || inet->length == 16);
  if (inet->length == 4)
    return format_ipv4(inet->bytes, ret_text);
  const char *text = inet_ntop(AF_INET6, inet->bytes, ret_text, PG_INET_TEXT_SIZE);
  assert(text);
  return strlen(text);
}

bool pg_put_array(struct buf *out, enum pg_type element, int count, bool has_null) {
  assert(count >= 0);
  /* An empty array has no dimensions. */
  uint32_t dimensions = count > 0 ? 1 : 0;
  size_t len = count > 0 ? 20 : 12;
  if (!buf_reserve(out, len))
    return false;
  buf_append_be32(out, dimensions);
  buf_append_be32(out, has_null ? 1 : 0);
  buf_append_be32(out, (uint32_t)element);
  if (count > 0) {
    buf_append_be32(out, (uint32_t)count);
    buf_append_be32(out, 1); /* lower bound */
  }
  return true;
}

bool pg_put_null(struct buf *out) {
  return buf_append_be32(out, UINT32_MAX);
}

static uint8_t *write_big_endian(uint8_t *at, uint64_t value, size_t len) {
  for (size_t i = len; i > 0; i--) {
    at[i - 1] = (uint8_t)value;
    value >>= 8;
  }
  return at + len;
}

/* Length and value together or neither. */
static bool put_sized(struct buf *out, const void *value, size_t len) {
  uint8_t *at = len > INT32_MAX ? NULL : buf_reserve(out, 4 + len);
  if (!at)
    return false;
  at = write_big_endian(at, len, 4);
  if (len > 0)
    memcpy(at, value, len);
  buf_commit(out, 4 + len);
  return true;
}

static bool put_integer(struct buf *out, uint64_t value, size_t len) {
  uint8_t *at = buf_reserve(out, 4 + len);
  if (!at)
    return false;
  at = write_big_endian(at, len, 4);
  write_big_endian(at, value, len);
  buf_commit(out, 4 + len);
  return true;
}

bool pg_put_bool(struct buf *out, bool value) {
  uint8_t byte = value ? 1 : 0;
  return put_sized(out, &byte, 1);
}

bool pg_put_int2(struct buf *out, int16_t value) {
  return put_integer(out, (uint16_t)value, 2);
}

bool pg_put_int4(struct buf *out, int32_t value) {
  return put_integer(out, (uint32_t)value, 4);
}

bool pg_put_int8(struct buf *out, int64_t value) {
  return put_integer(out, (uint64_t)value, 8);
}

bool pg_put_text(struct buf *out, struct str value) {
  return put_sized(out, value.data, value.len);
}

bool pg_put_uuid(struct buf *out, const struct uuid *value) {
  return put_sized(out, value->bytes, sizeof(value->bytes));
}

int64_t pg_timestamptz(int64_t unix_us) {
  return unix_us - PG_EPOCH_UNIX_US;
}

bool pg_put_timestamptz(struct buf *out, int64_t unix_us) {
  return pg_put_int8(out, pg_timestamptz(unix_us));
}

bool pg_put_inet(struct buf *out, const struct pg_inet *value) {
  if (value->length == 0)
    return pg_put_null(out);
  assert(value->length == 4 || value->length == 16);
  uint8_t wire[INET_HEADER_BYTES + 16] = {
      value->length == 4 ? INET_FAMILY_4 : INET_FAMILY_6,
      (uint8_t)(value->length * 8), /* the whole address, no netmask */
      0,                            /* inet, not cidr */
      value->length,
  };
  memcpy(wire + INET_HEADER_BYTES, value->bytes, value->length);
  return put_sized(out, wire, INET_HEADER_BYTES + (size_t)value->length);
}

static bool get_big_endian(struct str value, size_t len, uint64_t *ret) {
  if (value.len != len)
    return false;
  uint64_t result = 0;
  for (size_t i = 0; i < len; i++)
    result = result << 8 | (uint8_t)value.data[i];
  *ret = result;
  return true;
}

bool pg_get_bool(struct str value, bool *ret) {
  if (value.len != 1)
    return false;
  *ret = value.data[0] != 0;
  return true;
}

bool pg_get_int2(struct str value, int16_t *ret) {
  uint64_t bits;
  if (!get_big_endian(value, 2, &bits))
    return false;
  *ret = (int16_t)(uint16_t)bits;
  return true;
}

bool pg_get_int4(struct str value, int32_t *ret) {
  uint64_t bits;
  if (!get_big_endian(value, 4, &bits))
    return false;
  *ret = (int32_t)(uint32_t)bits;
  return true;
}

bool pg_get_int8(struct str value, int64_t *ret) {
  uint64_t bits;
  if (!get_big_endian(value, 8, &bits))
    return false;
  *ret = (int64_t)bits;
  return true;
}

bool pg_get_uuid(struct str value, struct uuid *ret) {
  if (value.len != sizeof(ret->bytes))
    return false;
  memcpy(ret->bytes, value.data, sizeof(ret->bytes));
  return true;
}

bool pg_get_timestamptz(struct str value, int64_t *ret_unix_us) {
  int64_t pg_us;
  /* "infinity" is the largest value and has no place on our scale; "-infinity" likewise. */
  if (!pg_get_int8(value, &pg_us) || pg_us == INT64_MIN || pg_us > INT64_MAX - PG_EPOCH_UNIX_US)
    return false;
  *ret_unix_us = pg_us + PG_EPOCH_UNIX_US;
  return true;
}

bool pg_get_inet(struct str value, struct pg_inet *ret) {
  if (value.len < INET_HEADER_BYTES)
    return false;
  const uint8_t *wire = (const uint8_t *)value.data;
  uint8_t length = wire[3];
  bool is_known =
      (length == 4 && wire[0] == INET_FAMILY_4) || (length == 16 && wire[0] == INET_FAMILY_6);
  if (!is_known || value.len != INET_HEADER_BYTES + (size_t)length)
    return false;
  *ret = (struct pg_inet){.length = length};
  memcpy(ret->bytes, wire + INET_HEADER_BYTES, length);
  return true;
}
