#include "base/random.h"

#include <sys/random.h>
#include <uv.h>

int64_t random_below(int64_t below) {
  if (below <= 0)
    return 0;
  uint64_t bits = 0;
  if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
    bits = uv_hrtime();
  return (int64_t)(bits % (uint64_t)below);
}
