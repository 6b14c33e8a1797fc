#include "base/reserve.h"

#include <stdlib.h>
#include <string.h>

/* Twice the largest piece that an arena takes at once. */
#define RESERVE_BYTES ((size_t)2 * 1024 * 1024)

/* Memory belongs to the process, and so does what is kept of it. */
static struct {
  void *memory;
  size_t uses;
} reserve;

/* Written to, or the system wouldn't have given it yet. */
bool reserve_keep(void) {
  if (reserve.memory)
    return true;
  reserve.memory = malloc(RESERVE_BYTES);
  if (reserve.memory)
    memset(reserve.memory, 0xa5, RESERVE_BYTES);
  return reserve.memory != NULL;
}

size_t reserve_uses(void) {
  return reserve.uses;
}

/* Whether there is hope in another try. */
static bool give_up(void) {
  if (!reserve.memory)
    return false;
  free(reserve.memory);
  reserve.memory = NULL;
  reserve.uses++;
  return true;
}

void *reserve_malloc(size_t size) {
  void *p = malloc(size);
  return p || !give_up() ? p : malloc(size);
}

void *reserve_calloc(size_t count, size_t size) {
  void *p = calloc(count, size);
  return p || !give_up() ? p : calloc(count, size);
}

void *reserve_realloc(void *p, size_t size) {
  void *grown = realloc(p, size);
  return grown || !give_up() ? grown : realloc(p, size);
}
