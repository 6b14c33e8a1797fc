#include <sys/random.h>

#include "pg/internal.h"

int64_t pg_random_below(int64_t below_us) {
  if (below_us <= 0)
    return 0;
  uint64_t bits = 0;
  if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
    bits = uv_hrtime();
  return (int64_t)(bits % (uint64_t)below_us);
}
