#include "base/alloc.h"

#include "base/log_writer.h"
#include "base/reserve.h"

#include <stdlib.h>

static _Noreturn void out_of_memory(void) {
  static const char text[] = "out of memory\n";
  (void)log_writer_put(text, sizeof(text) - 1);
  abort();
}

void *xmalloc(size_t size) {
  void *p = reserve_malloc(size ? size : 1);
  if (!p)
    out_of_memory();
  return p;
}

void *xcalloc(size_t count, size_t size) {
  void *p = reserve_calloc(count ? count : 1, size ? size : 1);
  if (!p)
    out_of_memory();
  return p;
}

void *xrealloc(void *p, size_t size) {
  void *grown = reserve_realloc(p, size ? size : 1);
  if (!grown)
    out_of_memory();
  return grown;
}
