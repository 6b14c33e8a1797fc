/*
 * budget: memory that others cause, counted against limits before it is taken.
 *
 * Budgets form a tree: what is taken from one is taken from those above it as well, up to the one
 * of the whole daemon, and only if each of them has room. A buf or an arena that was given a budget
 * takes its memory from there by itself. Loop thread only.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

/* Embedded by its owner; zeroed, it counts and has no limit. */
struct budget {
  struct budget *parent; /* borrowed; NULL: none above */
  size_t used_bytes;
  size_t limit_bytes; /* 0: none of its own */
};

/* False, with nothing taken: this budget or one above it hasn't so much left. NULL has no limit. */
bool budget_take(struct budget *budget, size_t bytes);

/* Takes it although there may be no room, for what can't be refused where it is needed. Here, as
 * each allocation for a peer runs through it. */
static inline void budget_force(struct budget *budget, size_t bytes) {
  for (struct budget *b = budget; b; b = b->parent)
    b->used_bytes += bytes;
}

/* Gives back what was taken. */
static inline void budget_give(struct budget *budget, size_t bytes) {
  for (struct budget *b = budget; b; b = b->parent) {
    assert(b->used_bytes >= bytes);
    b->used_bytes -= bytes;
  }
}
