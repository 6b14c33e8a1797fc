#include "files.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_write(int fd, const void *data, size_t len, uint64_t offset) {
  const char *at = data;
  while (len > 0) {
    ssize_t n = pwrite(fd, at, len, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return -1;
    at += n;
    offset += (size_t)n;
    len -= (size_t)n;
  }
  return 0;
}

ssize_t file_read(int fd, void *data, size_t len, uint64_t offset) {
  size_t done = 0;
  while (done < len) {
    ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

int file_open(int dir_fd, const char *name, int flags) {
  return openat(dir_fd, name, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int64_t file_size(int fd) {
  struct stat st;
  return fstat(fd, &st) < 0 ? -1 : (int64_t)st.st_size;
}

enum auditstore_code file_fail(struct auditstore_status *status, const char *dir, const char *name,
                               const char *what) {
  int error = errno;
  bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG || error == ENOMEM;
  enum auditstore_code code = is_full ? AUDITSTORE_RESOURCE_EXHAUSTED : AUDITSTORE_UNAVAILABLE;
  char text[128];
  status_set(status, code, "spool %s/%s: %s: %s", dir, name, what,
             strerror_r(error, text, sizeof(text)));
  return code;
}
