#include "base/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/reserve.h"

#define US_PER_S 1000000

enum { START_TIME, CPU, VIRTUAL_MEMORY, RESIDENT_MEMORY, RESERVE_USES, OPEN_FDS, MAX_FDS };

static const struct metric_family families[] = {
    [START_TIME] = {"process_start_time_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                    "When the process started, since 1970-01-01T00:00:00Z."},
    [CPU] = {"process_cpu_seconds_total", METRIC_COUNTER, METRIC_TIME, NULL,
             "CPU time used, of user and system together."},
    [VIRTUAL_MEMORY] = {"process_virtual_memory_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                        "Size of the address space."},
    [RESIDENT_MEMORY] = {"process_resident_memory_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                         "Memory held in RAM."},
    [RESERVE_USES] = {"auditstore_memory_reserve_uses_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                      "Times that memory was out and the reserve of 2 MiB helped out."},
    [OPEN_FDS] = {"process_open_fds", METRIC_GAUGE, METRIC_NUMBER, NULL, "Open file descriptors."},
    [MAX_FDS] = {"process_max_fds", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "Most file descriptors that may be open at once."},
};

const struct metric_table process_metric_table = {"The process", families,
                                                  sizeof(families) / sizeof(families[0])};

static void write_cpu(struct metrics *m) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0)
    return;
  int64_t seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
  metrics_add(m, &families[CPU],
              seconds * US_PER_S + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void write_memory(struct metrics *m) {
  char text[128];
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file)
    return;
  bool was_read = fgets(text, sizeof(text), file);
  fclose(file);
  if (!was_read)
    return;
  char *rest = NULL;
  int64_t page_bytes = sysconf(_SC_PAGESIZE);
  metrics_add(m, &families[VIRTUAL_MEMORY], strtoll(text, &rest, 10) * page_bytes);
  metrics_add(m, &families[RESIDENT_MEMORY], strtoll(rest, NULL, 10) * page_bytes);
  metrics_add(m, &families[RESERVE_USES], (int64_t)reserve_uses());
}

static void write_open_fds(struct metrics *m) {
  int64_t count = 0;
  DIR *folder = opendir("/proc/self/fd");
  if (!folder)
    return;
  for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
    count += entry->d_name[0] != '.';
  closedir(folder);
  metrics_add(m, &families[OPEN_FDS], count - 1); /* without the folder's own */
}

static void write_max_fds(struct metrics *m) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    metrics_add(m, &families[MAX_FDS], (int64_t)limit.rlim_cur);
}

void process_metrics_write(struct metrics *metrics, int64_t started_us) {
  metrics_add(metrics, &families[START_TIME], started_us);
  write_cpu(metrics);
  write_memory(metrics);
  write_open_fds(metrics);
  write_max_fds(metrics);
}
