#include "base/uuid.h"

#include <string.h>
#include <sys/random.h>

/* Looked up: digits and letters come as they like, so that comparing would be guessing wrong. */
static int hex_value(char c) {
  static const uint8_t values_plus_1[256] = {
      ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
      ['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
      ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
      ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
  };
  return values_plus_1[(uint8_t)c] - 1;
}

static bool is_dash_place(size_t i) {
  return i == 8 || i == 13 || i == 18 || i == 23;
}

bool uuid_parse(struct str text, struct uuid *ret_uuid) {
  if (text.len != UUID_TEXT_LEN)
    return false;
  struct uuid uuid;
  size_t at = 0;
  for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
    if (is_dash_place(at) && text.data[at++] != '-')
      return false;
    int high = hex_value(text.data[at++]);
    int low = hex_value(text.data[at++]);
    if (high < 0 || low < 0)
      return false;
    uuid.bytes[i] = (uint8_t)(high << 4 | low);
  }
  *ret_uuid = uuid;
  return true;
}

void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_LEN]) {
  static const char digits[] = "0123456789abcdef";
  size_t at = 0;
  for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
    if (is_dash_place(at))
      ret_text[at++] = '-';
    ret_text[at++] = digits[uuid->bytes[i] >> 4];
    ret_text[at++] = digits[uuid->bytes[i] & 15];
  }
}

static void fill_random(struct uuid_v7 *generator) {
  size_t filled = 0;
  while (filled < sizeof(generator->random)) {
    ssize_t got = getrandom(generator->random + filled, sizeof(generator->random) - filled, 0);
    if (got > 0)
      filled += (size_t)got;
  }
  generator->random_left = sizeof(generator->random);
}

static void take_random(struct uuid_v7 *generator, uint8_t *ret_bytes, size_t len) {
  if (generator->random_left < len)
    fill_random(generator);
  generator->random_left -= len;
  memcpy(ret_bytes, generator->random + generator->random_left, len);
}

/* The counter starts below half, so that it seldom overflows within a millisecond. */
static void next_tick(struct uuid_v7 *generator, uint64_t now_ms) {
  if (now_ms <= generator->last_ms && ++generator->counter <= 0xfff)
    return;
  generator->last_ms = now_ms > generator->last_ms ? now_ms : generator->last_ms + 1;
  uint8_t seed[2];
  take_random(generator, seed, sizeof(seed));
  generator->counter = (uint16_t)((seed[0] << 8 | seed[1]) & 0x7ff);
}

struct uuid uuid_v7_next(struct uuid_v7 *generator, int64_t wall_us) {
  next_tick(generator, wall_us > 0 ? (uint64_t)wall_us / 1000 : 0);
  struct uuid uuid;
  for (int i = 0; i < 6; i++)
    uuid.bytes[i] = (uint8_t)(generator->last_ms >> (8 * (5 - i)));
  uuid.bytes[6] = (uint8_t)(0x70 | generator->counter >> 8);
  uuid.bytes[7] = (uint8_t)generator->counter;
  take_random(generator, uuid.bytes + 8, 8);
  uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
  return uuid;
}
