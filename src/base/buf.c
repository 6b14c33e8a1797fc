#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"

#define BUF_FIRST_BYTES 256

void buf_init(struct buf *b, size_t max_bytes) {
  *b = (struct buf){.max_bytes = max_bytes};
}

void buf_init_counted(struct buf *b, size_t max_bytes, struct budget *budget) {
  *b = (struct buf){.max_bytes = max_bytes, .budget = budget};
}

void buf_deinit(struct buf *b) {
  free(b->data);
  if (b->cap > 0)
    budget_give(b->budget, b->cap);
  buf_init_counted(b, b->max_bytes, b->budget);
}

/* Moves the content to the front once what was consumed is at least as much: each byte is moved at
 * most once for each byte consumed. */
static void buf_compact(struct buf *b) {
  size_t len = buf_len(b);
  if (b->start < len)
    return;
  if (b->data && len)
    memmove(b->data, b->data + b->start, len);
  b->start = 0;
  b->end = len;
}

static bool buf_grow(struct buf *b, size_t needed) {
  size_t cap = b->cap ? b->cap : BUF_FIRST_BYTES;
  while (cap < needed)
    cap *= 2;
  /* The last step goes no further than there can be content. */
  if (cap > needed && cap > b->start + b->max_bytes)
    cap = needed > b->start + b->max_bytes ? needed : b->start + b->max_bytes;
  if (!budget_take(b->budget, cap - b->cap))
    return false;
  uint8_t *data = reserve_realloc(b->data, cap);
  if (!data) {
    budget_give(b->budget, cap - b->cap);
    return false;
  }
  b->data = data;
  b->cap = cap;
  return true;
}

/* Room for `len` bytes of content and `spare` behind them, which the maximum doesn't count. */
static uint8_t *buf_room(struct buf *b, size_t len, size_t spare) {
  if (len > b->max_bytes || buf_len(b) > b->max_bytes - len)
    return NULL;
  if (!b->data || len + spare > b->cap - b->end)
    buf_compact(b);
  if (!b->data || len + spare > b->cap - b->end)
    if (!buf_grow(b, b->end + len + spare))
      return NULL;
  return b->data + b->end;
}

uint8_t *buf_reserve(struct buf *b, size_t len) {
  return buf_room(b, len, 0);
}

void buf_commit(struct buf *b, size_t len) {
  assert(len <= b->cap - b->end);
  b->end += len;
}

bool buf_append(struct buf *b, const void *data, size_t len) {
  uint8_t *room = buf_reserve(b, len);
  if (!room)
    return false;
  if (len)
    memcpy(room, data, len);
  b->end += len;
  return true;
}

bool buf_append_str(struct buf *b, const char *text) {
  return buf_append(b, text, strlen(text));
}

bool buf_append_format(struct buf *b, const char *format, ...) {
  va_list args;
  va_list again;
  va_start(args, format);
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  /* The NUL that vsnprintf writes needs room, but isn't content. */
  uint8_t *room = len < 0 ? NULL : buf_room(b, (size_t)len, 1);
  if (room) {
    vsnprintf((char *)room, (size_t)len + 1, format, again);
    b->end += (size_t)len;
  }
  va_end(again);
  return room != NULL;
}

static bool buf_append_be(struct buf *b, uint64_t value, size_t size) {
  uint8_t *room = buf_reserve(b, size);
  if (!room)
    return false;
  for (size_t i = 0; i < size; i++)
    room[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
  b->end += size;
  return true;
}

bool buf_append_be16(struct buf *b, uint16_t value) {
  return buf_append_be(b, value, sizeof(value));
}

bool buf_append_be32(struct buf *b, uint32_t value) {
  return buf_append_be(b, value, sizeof(value));
}

bool buf_append_be64(struct buf *b, uint64_t value) {
  return buf_append_be(b, value, sizeof(value));
}

void buf_consume(struct buf *b, size_t len) {
  assert(len <= buf_len(b));
  b->start += len;
  if (b->start == b->end)
    b->start = b->end = 0;
}

void buf_clear(struct buf *b) {
  b->start = b->end = 0;
}
