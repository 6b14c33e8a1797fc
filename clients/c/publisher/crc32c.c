#include "crc32c.h"

#include <string.h>

/* Four bits at a time. */
static const uint32_t table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len) {
  const uint8_t *bytes = data;
  crc = ~crc;
  for (size_t i = 0; i < len; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t by_processor(uint32_t crc, const uint8_t *bytes,
                                                               size_t len) {
  uint64_t wide = ~crc;
  for (; len >= sizeof(uint64_t); bytes += sizeof(uint64_t), len -= sizeof(uint64_t)) {
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    wide = __builtin_ia32_crc32di(wide, word);
  }
  uint32_t narrow = (uint32_t)wide;
  for (size_t i = 0; i < len; i++)
    narrow = __builtin_ia32_crc32qi(narrow, bytes[i]);
  return ~narrow;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len) {
  if (__builtin_cpu_supports("sse4.2"))
    return by_processor(crc, data, len);
  return crc32c_portable(crc, data, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t len) {
  return crc32c_portable(crc, data, len);
}

#endif
