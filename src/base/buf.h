/*
 * buf: a growing run of bytes with a stated maximum, consumed from the front.
 *
 * Every writer returns false, and changes nothing, when the maximum would be passed, the budget has
 * no room, or memory is out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/str.h"

struct buf {
  uint8_t *data;         /* owned */
  size_t start;          /* consumed so far */
  size_t end;            /* filled so far */
  size_t cap;            /* allocated */
  size_t max_bytes;      /* of unconsumed content */
  struct budget *budget; /* borrowed; what `cap` is taken from; NULL: none */
};

void buf_init(struct buf *b, size_t max_bytes);

/* The same; its memory is taken from `budget`, which outlives it. */
void buf_init_counted(struct buf *b, size_t max_bytes, struct budget *budget);

/* Frees the memory. It stays usable, with the same maximum and budget. A zeroed buf is fine. */
void buf_deinit(struct buf *b);

static inline size_t buf_len(const struct buf *b) {
  return b->end - b->start;
}
/* NULL while nothing was ever written. */
static inline const uint8_t *buf_bytes(const struct buf *b) {
  return b->data ? b->data + b->start : NULL;
}

/* Room for `len` more bytes at the end; write them there, then call buf_commit(). NULL when the
 * maximum would be passed. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_str(struct buf *b, const char *text);
bool buf_append_format(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool buf_append_be16(struct buf *b, uint16_t value);
bool buf_append_be32(struct buf *b, uint32_t value);
bool buf_append_be64(struct buf *b, uint64_t value);

/* Drops `len` bytes (at most buf_len()) from the front. */
void buf_consume(struct buf *b, size_t len);

/* Empties it and keeps the memory. */
void buf_clear(struct buf *b);
