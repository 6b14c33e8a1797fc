#include "pg/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int pg_socket_copy(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

void pg_socket_half_close(int fd) {
  shutdown(fd, SHUT_WR);
}

bool pg_socket_is_over(int fd) {
  char waste[4096];
  ssize_t got = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

void pg_socket_close(int fd) {
  close(fd);
}
