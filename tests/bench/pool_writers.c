#include "bench/pool_writers.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static int64_t now_us(void) {
  return clock_monotonic_us(&clock_system);
}

/* ---- a writer ---- */

static bool send_burst(int fd) {
  struct pool_message messages[BURST];
  for (int i = 0; i < BURST; i++)
    messages[i].sent_us = now_us();
  return write(fd, messages, sizeof(messages)) == (ssize_t)sizeof(messages);
}

static bool take_answers(int fd, int64_t count_from_us, struct pool_latencies *latencies) {
  for (int i = 0; i < BURST; i++) {
    struct pool_message message;
    if (recv(fd, &message, sizeof(message), MSG_WAITALL) != (ssize_t)sizeof(message))
      return false;
    if (message.sent_us >= count_from_us && latencies->count < LATENCIES_MAX / WRITERS)
      latencies->us[latencies->count++] = (uint32_t)(now_us() - message.sent_us);
  }
  return true;
}

static void think(void) {
  const struct timespec span = {.tv_nsec = THINK_MS * CLOCK_US_PER_MS * 1000};
  nanosleep(&span, NULL);
}

static _Noreturn void write_for(int fd, int64_t span_us, struct pool_latencies *latencies) {
  int64_t count_from_us = now_us() + WARM_UP_SECONDS * CLOCK_US_PER_S;
  int64_t end_us = count_from_us + span_us;
  prctl(PR_SET_PDEATHSIG, 9);
  while (now_us() < end_us) {
    if (!send_burst(fd) || !take_answers(fd, count_from_us, latencies))
      _exit(1);
    think();
  }
  _exit(0);
}

/* ---- all of them ---- */

static int start_one(struct pool_writers *writers, int index, int seconds) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
    return -1;
  int pid = fork();
  if (pid < 0)
    return -1;
  if (pid == 0) {
    for (int i = 0; i < index; i++)
      close(writers->fds[i]);
    close(ends[0]);
    write_for(ends[1], seconds * CLOCK_US_PER_S, &writers->latencies[index]);
  }
  close(ends[1]);
  writers->fds[index] = ends[0];
  writers->pids[index] = pid;
  return 0;
}

int pool_writers_start(struct pool_writers *writers, int seconds) {
  memset(writers, 0, sizeof(*writers));
  void *shared = mmap(NULL, WRITERS * sizeof(struct pool_latencies), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return -1;
  writers->latencies = shared;
  fflush(NULL);
  for (int i = 0; i < WRITERS; i++) {
    if (start_one(writers, i, seconds) < 0)
      return -1;
  }
  return 0;
}

int pool_writers_finish(struct pool_writers *writers) {
  int rc = 0;
  for (int i = 0; i < WRITERS; i++) {
    int status = 0;
    close(writers->fds[i]);
    if (waitpid(writers->pids[i], &status, 0) < 0 || status != 0)
      rc = -1;
  }
  return rc;
}

void pool_writers_free(struct pool_writers *writers) {
  munmap(writers->latencies, WRITERS * sizeof(struct pool_latencies));
}
