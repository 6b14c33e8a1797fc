#include "base/port_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int port_file_write(const char *path, int port, struct error *err) {
  char temporary[4096];
  if (!path[0])
    return 0;
  int len = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
  if (len < 0 || (size_t)len >= sizeof(temporary))
    return error_set(err, ERR_INVALID_ARGUMENT, "path too long");
  FILE *file = fopen(temporary, "we");
  if (!file)
    return error_set(err, ERR_UNAVAILABLE, "%s: %s", temporary, strerror(errno));
  bool ok = fprintf(file, "%d\n", port) > 0;
  ok = fclose(file) == 0 && ok;
  if (!ok || rename(temporary, path) != 0)
    return error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
  return 0;
}

int port_file_check(const char *path, struct error *err) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  if (!path[0])
    return 0;
  snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  if (access(folder, W_OK | X_OK) != 0)
    return error_set(err, ERR_FAILED_PRECONDITION, "can't write \"%s\": its folder: %s", path,
                     strerror(errno));
  return 0;
}
