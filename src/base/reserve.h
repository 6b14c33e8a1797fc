/*
 * reserve: memory that is kept back for when memory is out.
 *
 * What is allocated here is tried once more after the reserve was given up, so that a daemon that
 * is briefly short of memory refuses work instead of dying in the middle of it. A program that
 * keeps no reserve, such as the client library, just gets NULL. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* NULL: memory is out, and the reserve is used up or isn't enough. */
void *reserve_malloc(size_t size);
void *reserve_calloc(size_t count, size_t size);
void *reserve_realloc(void *p, size_t size);

/* Keeps a reserve from now on; one that was given up is renewed with the next allocation for which
 * there is memory. True: there is one. */
bool reserve_keep(void);

/* How often it was given up. */
size_t reserve_uses(void);
