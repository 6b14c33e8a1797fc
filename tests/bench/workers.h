/*
 * workers: runs the same work in several processes at once and times it from a common start.
 */
#pragma once

#include <stddef.h>

/* Runs in a child. prepare() connects and builds what is sent; run() is what is timed. Each returns
 * 0 or an exit code above 0 after printing why. */
struct worker_task {
  void *(*prepare)(const void *config, int worker);
  int (*run)(void *state);
  const void *config;
};

/* Forks `count` children; returns the seconds from the start signal to the last one's end, or a
 * negative number when any failed. */
double workers_run(int count, const struct worker_task *task);

/* User and system CPU seconds a process has used so far (/proc/PID/stat). */
double process_cpu_seconds(int pid);

/* The most memory it has had in RAM so far, in MiB (/proc/PID/status). */
double process_peak_mib(int pid);
