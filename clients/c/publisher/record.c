#include "record.h"

#include "crc32c.h"

static void put_le(uint8_t *at, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value |= (uint64_t)at[i] << (8 * i);
  return value;
}

void record_begin(uint8_t *at, const struct record *record) {
  put_le(at + 4, record->event_len, 4);
  put_le(at + 8, record->tag, 8);
  put_le(at + 16, (uint64_t)record->taken_us, 8);
}

size_t record_seal(uint8_t *at, uint64_t synced) {
  put_le(at + 24, synced, 8);
  size_t len = RECORD_HEADER_BYTES + get_le(at + 4, 4);
  put_le(at, crc32c(0, at + 4, len - 4), 4);
  return len;
}

void record_peek(const uint8_t *at, struct record *ret) {
  *ret = (struct record){
      .tag = get_le(at + 8, 8),
      .taken_us = (int64_t)get_le(at + 16, 8),
      .event = at + RECORD_HEADER_BYTES,
      .event_len = get_le(at + 4, 4),
  };
}

/* Whether it begins as every packed event does here. */
static bool has_id(const uint8_t *event) {
  return event[0] == 0x0a && event[1] == 36;
}

enum record_result record_read(const uint8_t *bytes, size_t len, struct record *ret,
                               size_t *ret_needed) {
  *ret_needed = RECORD_HEADER_BYTES;
  if (len < RECORD_HEADER_BYTES)
    return RECORD_PART;
  size_t event_len = get_le(bytes + 4, 4);
  if (event_len < RECORD_MIN_EVENT_BYTES || event_len > RECORD_MAX_EVENT_BYTES)
    return RECORD_BAD;
  *ret_needed = RECORD_HEADER_BYTES + event_len;
  if (len < *ret_needed)
    return RECORD_PART;
  if (crc32c(0, bytes + 4, *ret_needed - 4) != get_le(bytes, 4) ||
      !has_id(bytes + RECORD_HEADER_BYTES))
    return RECORD_BAD;
  record_peek(bytes, ret);
  ret->synced = get_le(bytes + 24, 8);
  return RECORD_OK;
}

/* Whether a record anywhere behind `fault` was written when the bytes there were safe. */
static bool was_safe(const uint8_t *bytes, size_t len, size_t fault) {
  struct record record;
  size_t needed = 0;
  for (size_t at = fault + 1; at + RECORD_HEADER_BYTES < len; at++)
    if (record_read(bytes + at, len - at, &record, &needed) == RECORD_OK && record.synced > fault)
      return true;
  return false;
}

void record_scan(const uint8_t *bytes, size_t len, size_t from, struct record_scan *ret) {
  struct record record;
  size_t needed = 0;
  *ret = (struct record_scan){.end = from};
  while (ret->end < len &&
         record_read(bytes + ret->end, len - ret->end, &record, &needed) == RECORD_OK) {
    ret->end += record_size(&record);
    ret->events++;
  }
  ret->is_damaged = ret->end < len && was_safe(bytes, len, ret->end);
}
