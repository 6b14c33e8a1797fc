#include "base/path.h"

#include <stdio.h>
#include <string.h>

void path_folder(const char *path, char ret_folder[PATH_MAX]) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    snprintf(ret_folder, PATH_MAX, ".");
  else
    snprintf(ret_folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}
