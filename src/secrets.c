#include "secrets.h"

#include <sys/stat.h>

#include "base/file_mode.h"
#include "base/log.h"

static bool is_exposed(const char *path) {
  struct stat status;
  return path[0] && stat(path, &status) == 0 && file_mode_is_exposed(status.st_mode);
}

int secrets_check(const struct config *config, struct error *err) {
  const struct {
    const char *key, *path;
  } files[] = {
      {"database.password_file", config->database.password_file},
      {"database.sslkey", config->database.sslkey},
  };
  int rc = 0;
  for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
    if (!is_exposed(files[i].path))
      continue;
    log_warn("everybody may read or change a file of secrets", KV("setting", files[i].key),
             KV("file", files[i].path));
    if (config->server.environment == CONFIG_PRODUCTION)
      rc = error_set(
          err, ERR_FAILED_PRECONDITION,
          "%s: everybody may read or change \"%s\": chmod o= it, and change the secret if it was "
          "ever used so",
          files[i].key, files[i].path);
  }
  return rc;
}
