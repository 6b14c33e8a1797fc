#include "base/core_dumps.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* Neither call can fail: a limit may always be lowered. */

void core_dumps_limit(void) {
  const struct rlimit none = {0};
  setrlimit(RLIMIT_CORE, &none);
}

void core_dumps_forbid(void) {
  core_dumps_limit();
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
