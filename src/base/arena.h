/*
 * arena: memory that lives as long as one request, with a hard limit.
 *
 * Pieces are never freed singly. Allocating above the limit gives NULL and marks the arena full,
 * so that a caller can tell "too much for one request" from "malformed". Not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/budget.h"
#include "base/str.h"

struct arena_chunk;

struct arena {
  struct arena_chunk *head; /* owned; the newest chunk */
  size_t used_bytes;        /* handed out, alignment included */
  size_t limit_bytes;
  size_t chunk_bytes;    /* of all chunks */
  struct budget *budget; /* borrowed; what they are taken from; NULL: none */
  bool is_full;          /* an allocation was refused */
  bool is_short;         /* ... because the budget, or memory itself, was out */
};

/* `limit_bytes` bounds the sum of what is handed out. Allocates nothing yet. */
void arena_init(struct arena *a, size_t limit_bytes);

/* The same; its memory is taken from `budget`, which outlives it. */
void arena_init_counted(struct arena *a, size_t limit_bytes, struct budget *budget);

/* Frees everything. A zeroed arena is fine. */
void arena_deinit(struct arena *a);

/* Uninitialised memory aligned to 16, or NULL above the limit. `size` 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t size);

/* The same, zeroed, for `count` elements; NULL as well when count * size overflows. */
void *arena_calloc(struct arena *a, size_t count, size_t size);

/* A copy of `s` with a NUL behind it, or NULL above the limit. */
char *arena_strdup(struct arena *a, struct str s);
