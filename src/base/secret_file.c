#include "base/secret_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"

static bool is_trusted(uid_t owner) {
  return owner == geteuid() || owner == 0;
}

static struct secret_risk judge_file(const struct stat *status) {
  if (!is_trusted(status->st_uid))
    return (struct secret_risk){SECRET_RISK_FOREIGN, "another user owns",
                                "chown it to root or to the user that runs this program"};
  if (status->st_mode & (S_IROTH | S_IWOTH))
    return (struct secret_risk){SECRET_RISK_EXPOSED, "everybody may read or change", "chmod o= it"};
  if (status->st_mode & S_IWGRP)
    return (struct secret_risk){SECRET_RISK_EXPOSED, "its group may change", "chmod g-w it"};
  return (struct secret_risk){0};
}

/* In a sticky one, such as /tmp, each may replace only what is his. A group that this program runs
 * with is its own. */
static bool may_be_changed_by_others(const struct stat *folder) {
  mode_t others = folder->st_gid == getegid() ? S_IWOTH : S_IWGRP | S_IWOTH;
  return !is_trusted(folder->st_uid) ||
         ((folder->st_mode & others) && !(folder->st_mode & S_ISVTX));
}

static bool is_replaceable(const char *path) {
  char folder[PATH_MAX];
  struct stat status;
  path_folder(path, folder);
  return stat(folder, &status) != 0 || may_be_changed_by_others(&status);
}

struct secret_risk secret_file_judge(const char *path, int fd) {
  char target[PATH_MAX];
  struct stat status;
  if (fstat(fd, &status) != 0)
    status.st_uid = (uid_t)-1;
  struct secret_risk risk = judge_file(&status);
  bool is_other = risk.level != SECRET_RISK_FOREIGN &&
                  (is_replaceable(path) || (realpath(path, target) && is_replaceable(target)));
  if (is_other)
    return (struct secret_risk){SECRET_RISK_REPLACEABLE, "others may replace",
                                "make its folder one that only root or this program's user owns "
                                "and writes to"};
  return risk;
}
