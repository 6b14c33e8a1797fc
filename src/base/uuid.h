/*
 * uuid: RFC 9562 identifiers as 16 bytes in network order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define UUID_TEXT_LEN 36

struct uuid {
  uint8_t bytes[16];
};

/* Accepts the 8-4-4-4-12 form in either case, nothing else. */
bool uuid_parse(struct str text, struct uuid *ret_uuid);

/* Writes 36 lower-case characters, no NUL. */
void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_LEN]);

/* Makes version 7 identifiers that rise within one generator, also within one millisecond and when
 * the wall clock steps back (RFC 9562, 6.2, method 1). Zeroed before first use. */
struct uuid_v7 {
  uint64_t last_ms;
  uint16_t counter;    /* 12 bits */
  uint8_t random[512]; /* drawn ahead: one system call serves many identifiers */
  size_t random_left;
};
struct uuid uuid_v7_next(struct uuid_v7 *generator, int64_t wall_us);
