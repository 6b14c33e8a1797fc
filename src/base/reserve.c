#include "base/reserve.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Twice the largest piece that an arena takes at once. */
#define RESERVE_BYTES ((size_t)2 * 1024 * 1024)

/* Memory belongs to the process, and so does what is kept of it. */
static struct {
  _Atomic(void *) memory;
  atomic_size_t uses;
  atomic_bool is_kept; /* or was, and is to be again */
} reserve;

/* Written to, or the system wouldn't have given it yet. */
bool reserve_keep(void) {
  void *none = NULL;
  reserve.is_kept = true;
  if (reserve.memory)
    return true;
  void *memory = malloc(RESERVE_BYTES);
  if (!memory)
    return false;
  memset(memory, 0xa5, RESERVE_BYTES);
  if (!atomic_compare_exchange_strong(&reserve.memory, &none, memory))
    free(memory);
  return true;
}

size_t reserve_uses(void) {
  return reserve.uses;
}

/* It was given up, and perhaps memory is back. */
static void renew(void) {
  if (reserve.is_kept && !reserve.memory)
    (void)reserve_keep();
}

/* Whether there is hope in another try. */
static bool give_up(void) {
  void *memory = atomic_exchange(&reserve.memory, NULL);
  if (!memory)
    return false;
  free(memory);
  reserve.uses++;
  return true;
}

void *reserve_malloc(size_t size) {
  renew();
  void *p = malloc(size);
  return p || !give_up() ? p : malloc(size);
}

void *reserve_calloc(size_t count, size_t size) {
  renew();
  void *p = calloc(count, size);
  return p || !give_up() ? p : calloc(count, size);
}

void *reserve_realloc(void *p, size_t size) {
  renew();
  void *grown = realloc(p, size);
  return grown || !give_up() ? grown : realloc(p, size);
}
