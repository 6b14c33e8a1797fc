#include "net/tls_memory.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/reserve.h"

static void *allocate(size_t size, const char *file, int line) {
  (void)file;
  (void)line;
  return size > 0 ? reserve_malloc(size) : NULL;
}

static void release(void *p, const char *file, int line) {
  (void)file;
  (void)line;
  free(p);
}

/* A size of 0 is how it frees. */
static void *reallocate(void *p, size_t size, const char *file, int line) {
  if (size > 0)
    return reserve_realloc(p, size);
  release(p, file, line);
  return NULL;
}

void tls_memory_use_reserve(void) {
  (void)CRYPTO_set_mem_functions(allocate, reallocate, release);
}
