#include "descriptors.h"

#include <sys/resource.h>

#include "base/log.h"

/* 0: unknown, or without end. */
static int64_t limit_now(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return 0;
  return (int64_t)limit.rlim_cur;
}

int64_t descriptors_raise(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    /* What can't be raised is judged as it is. */
    (void)setrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit_now();
}

void descriptors_announce(const struct config *config) {
  log_info("descriptors", KV("limit", limit_now()), KV("needed", config_descriptors(config)),
           KV("server_max_connections", config->server.max_connections),
           KV("http_max_connections", config->http.max_connections),
           KV("database_max_open_conns", config->database.max_open_conns));
}
