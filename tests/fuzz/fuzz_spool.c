/*
 * The reader of the spool's segments: whatever lies in a file, what it finds are records that lie
 * one behind the other from where it began, and it says where the good ones end.
 */
#include "fuzz/fuzz.h"

#include "record.h"

#include <string.h>

/* Any bytes, as they lie. */
static void scan(const uint8_t *data, size_t size) {
  struct record_scan found;
  struct record record;
  size_t needed = 0;
  size_t at = 0;
  uint64_t events = 0;
  record_scan(data, size, 0, &found);
  while (at < found.end && record_read(data + at, size - at, &record, &needed) == RECORD_OK) {
    fuzz_require(record.event + record.event_len <= data + size, "a record lies in the file");
    at += record_size(&record);
    events++;
  }
  fuzz_require(at == found.end && events == found.events, "what counts are whole records");
  fuzz_require(at == size || record_read(data + at, size - at, &record, &needed) != RECORD_OK,
               "none is left out");
  fuzz_require(!found.is_damaged || found.end < size, "damage lies behind what counts");
}

/* The bytes as an event between two others: what was written is found again, and a bit of it that
 * flips, as the bytes say, is noticed. */
static void write_and_flip(const uint8_t *data, size_t size) {
  static uint8_t bytes[3 * (RECORD_HEADER_BYTES + 16384)];
  struct record_scan found;
  size_t ends[3];
  size_t len = 0;
  if (size < 4 || size > 16000)
    return;
  for (int i = 0; i < 3; i++) {
    const struct record record = {.tag = data[0], .event_len = RECORD_MIN_EVENT_BYTES + size};
    uint8_t *event = bytes + len + RECORD_HEADER_BYTES;
    record_begin(bytes + len, &record);
    memset(event, 'x', RECORD_MIN_EVENT_BYTES);
    event[0] = 0x0a;
    event[1] = 36;
    memcpy(event + RECORD_MIN_EVENT_BYTES, data, size);
    len += record_seal(bytes + len, len);
    ends[i] = len;
  }
  record_scan(bytes, len, 0, &found);
  fuzz_require(found.events == 3 && found.end == len && !found.is_damaged, "all are found again");
  size_t flipped = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % ends[1];
  bytes[flipped] ^= (uint8_t)(1 << data[3] % 8);
  record_scan(bytes, len, 0, &found);
  fuzz_require(found.is_damaged && found.end == (flipped < ends[0] ? 0 : ends[0]),
               "a flipped bit in front of what was safe is damage, at its record");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  scan(data, size);
  write_and_flip(data, size);
  return 0;
}
