#include "base/output.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_reader_gone(void) {
  struct pollfd poll_fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR);
}

static void end_by_broken_pipe(void) {
  const struct sigaction action = {.sa_handler = SIG_DFL};
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  sigaction(SIGPIPE, &action, NULL);
  sigprocmask(SIG_UNBLOCK, &signals, NULL);
  raise(SIGPIPE);
}

int output_finish(const char *program, int failure) {
  bool was_broken = ferror(stdout) != 0;
  if (fflush(stdout) != 0 && !failure)
    failure = errno;
  if (!was_broken && !failure)
    return 0;
  if (failure == EPIPE || is_reader_gone())
    end_by_broken_pipe();
  fprintf(stderr, "%s: can't write to standard output%s%s\n", program, failure ? ": " : "",
          failure ? strerror(failure) : "");
  return -1;
}
