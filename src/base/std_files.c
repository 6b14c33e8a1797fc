#include "base/std_files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool is_open(int fd) {
  return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

bool std_files_open(void) {
  /* Opened the wrong way round, the first two fail when they are used. */
  static const int modes[] = {
      [STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_RDWR};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    /* The lowest number that is free: those below are open by now. */
    if (!is_open(fd) && open("/dev/null", modes[fd]) != fd)
      return false;
  }
  return true;
}
