#include "bench/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_seconds(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A child tells through `ready` that it is prepared and starts when `start` is closed. */
static _Noreturn void child(const struct worker_task *task, int worker, int ready, int start) {
  void *state = task->prepare(task->config, worker);
  if (!state)
    _exit(1);
  char byte = 'r';
  if (write(ready, &byte, 1) != 1)
    _exit(1);
  while (read(start, &byte, 1) > 0)
    ;
  _exit(task->run(state));
}

static int wait_all(int count) {
  int failures = 0;
  for (int i = 0; i < count; i++) {
    int status = 0;
    if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
      failures++;
  }
  return failures;
}

double workers_run(int count, const struct worker_task *task) {
  int ready[2];
  int start[2];
  if (pipe(ready) != 0 || pipe(start) != 0)
    return -1;
  fflush(NULL);
  for (int i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid < 0)
      return -1;
    if (pid == 0) {
      close(start[1]);
      child(task, i, ready[1], start[0]);
    }
  }
  close(ready[1]);
  close(start[0]);
  int prepared = 0;
  char byte;
  while (prepared < count && read(ready[0], &byte, 1) == 1)
    prepared++;
  close(ready[0]);
  double began = now_seconds();
  close(start[1]);
  int failures = wait_all(count);
  return failures == 0 && prepared == count ? now_seconds() - began : -1;
}

double process_cpu_seconds(int pid) {
  char path[64];
  char line[1024] = "";
  snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  FILE *file = fopen(path, "re");
  if (!file)
    return -1;
  const char *read_line = fgets(line, sizeof(line), file);
  fclose(file);
  /* The name in parentheses may hold blanks: count fields from behind it (proc(5): utime is 14). */
  const char *rest = read_line ? strrchr(line, ')') : NULL;
  for (int field = 2; rest && field < 14; field++)
    rest = strchr(rest + 1, ' ');
  if (!rest)
    return -1;
  char *end = NULL;
  unsigned long user = strtoul(rest, &end, 10);
  unsigned long system = strtoul(end, NULL, 10);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

double process_peak_mib(int pid) {
  char path[64];
  char line[256];
  double kib = -1;
  snprintf(path, sizeof(path), "/proc/%d/status", pid);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof(line), file)) {
    if (strncmp(line, "VmHWM:", strlen("VmHWM:")) == 0)
      kib = strtod(line + strlen("VmHWM:"), NULL);
  }
  if (file)
    fclose(file);
  return kib / 1024;
}
