/*
 * record: one event as it lies in the spool.
 *
 *   crc32c  of all that follows       4 bytes
 *   len     of the event              4
 *   tag     the caller's              8
 *   taken   microseconds since 1970   8
 *   synced  see below                 8
 *   event   a packed AuditEvent, whose first field is its id in 36 characters
 *
 * Numbers are little-endian. `synced` is how much of its segment, from the front, was on the disk
 * when the record was written. So a reader can tell a fault that a crash may leave, behind what
 * every later record calls synced, from one in what was promised to be safe.
 *
 * Pure functions on bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_HEADER_BYTES ((size_t)32)
/* Tag and length of field 1, and a UUID's text. */
#define RECORD_MIN_EVENT_BYTES ((size_t)38)
#define RECORD_MAX_EVENT_BYTES ((size_t)64 * 1024 * 1024)

struct record {
  uint64_t tag;
  int64_t taken_us;
  uint64_t synced;
  const uint8_t *event; /* borrowed from the bytes that were read */
  size_t event_len;
};

static inline size_t record_size(const struct record *r) {
  return RECORD_HEADER_BYTES + r->event_len;
}

/* The id's 36 characters. */
static inline const char *record_event_id(const uint8_t *event) {
  return (const char *)event + 2;
}

/* Writes the header, in front of event_len bytes of event, but for the crc and `synced`; */
void record_begin(uint8_t *at, const struct record *record);

/* which this one fills. Returns the record's size. */
size_t record_seal(uint8_t *at, uint64_t synced);

/* Reads one that record_begin() wrote, unchecked. */
void record_peek(const uint8_t *at, struct record *ret);

enum record_result {
  RECORD_OK,
  RECORD_PART, /* more bytes are needed: *ret_needed from the record's first one */
  RECORD_BAD   /* not a record, or not any more */
};

enum record_result record_read(const uint8_t *bytes, size_t len, struct record *ret,
                               size_t *ret_needed);

/* What a segment holds from `from` on. */
struct record_scan {
  uint64_t end;    /* of the last good record */
  uint64_t events; /* good records */
  /* Behind `end` lie bytes that are no record, and a later record says that they were safe. */
  bool is_damaged;
};

/* `bytes` are a segment's first `len`. */
void record_scan(const uint8_t *bytes, size_t len, size_t from, struct record_scan *ret);
