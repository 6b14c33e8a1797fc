/*
 * tls_memory: OpenSSL's memory, taken with the reserve at hand (base/reserve.h). It reports what
 * fails for want of memory, but who only wants a hash can't go on without.
 */
#pragma once

/* First of all: before anything else of OpenSSL's is called. */
void tls_memory_use_reserve(void);
