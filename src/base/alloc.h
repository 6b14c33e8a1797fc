/*
 * alloc: small allocations of fixed size abort when memory is out and the reserve (reserve.h) is
 * too, because no sensible work is possible then. Sizes that a peer chooses are checked against a
 * limit first, by the caller.
 */
#pragma once

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size); /* zeroed; aborts when count * size overflows */
void *xrealloc(void *p, size_t size);
