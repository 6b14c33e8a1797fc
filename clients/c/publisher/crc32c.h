/*
 * crc32c: the checksum of the spool's records (Castagnoli, RFC 3720 B.4), by the processor where
 * it can.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0, or the result for the bytes before. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same without the processor's help. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);
