/*
 * fuzz: what every fuzz target has in common: libFuzzer's entry point, and a way to fail.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program, which makes libFuzzer keep the input. */
static inline void fuzz_require(int holds, const char *what) {
  if (holds)
    return;
  fprintf(stderr, "fuzz: doesn't hold: %s\n", what);
  abort();
}
