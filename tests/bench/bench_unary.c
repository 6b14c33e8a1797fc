/*
 * bench_unary: single events by callers that wait for each answer, beside as many connections that
 * insert the same rows one by one.
 *
 *   bench_unary SERVER CONNINFO DAEMON_PID
 *
 * Prints one JSON line for each number of callers, medians of ROUNDS rounds in which both ways take
 * turns.
 */
#include "bench/copy.h"
#include "bench/median.h"
#include "bench/unary.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 5

struct figure {
  int callers;
  int calls; /* of each */
};

static const struct figure figures[] = {{1, 2000}, {12, 800}, {100, 100}};

struct side {
  double per_s[ROUNDS];
  double p50_us[ROUNDS];
  double p99_us[ROUNDS];
};

static int run_side(struct side *side, int round, const struct worker_task *task,
                    struct latencies *latencies) {
  double seconds = workers_run(latencies->workers, task);
  if (seconds <= 0)
    return -1;
  side->per_s[round] = latencies->workers * latencies->per_worker / seconds;
  side->p50_us[round] = latencies_at(latencies, 0.5);
  side->p99_us[round] = latencies_at(latencies, 0.99);
  return 0;
}

static void print_figure(const struct figure *figure, struct side *unary, struct side *bare,
                         double *cpu_us) {
  double unary_p50 = median(unary->p50_us, ROUNDS);
  double bare_p50 = median(bare->p50_us, ROUNDS);
  double unary_per_s = median(unary->per_s, ROUNDS);
  double bare_per_s = median(bare->per_s, ROUNDS);
  printf(
      "{\"bench\":\"unary\",\"callers\":%d,\"rounds\":%d,\"events_per_s\":%.0f,"
      "\"p50_us\":%.0f,\"p99_us\":%.0f,\"daemon_cpu_us_per_event\":%.1f,"
      "\"insert_per_s\":%.0f,\"insert_p50_us\":%.0f,\"insert_p99_us\":%.0f,"
      "\"p50_ratio\":%.2f,\"per_s_ratio\":%.2f}\n",
      figure->callers, ROUNDS, unary_per_s, unary_p50, median(unary->p99_us, ROUNDS),
      median(cpu_us, ROUNDS), bare_per_s, bare_p50, median(bare->p99_us, ROUNDS),
      unary_p50 / bare_p50, unary_per_s / bare_per_s);
  fflush(stdout);
}

static int run_figure(char **argv, const struct figure *figure) {
  struct latencies latencies;
  struct side unary;
  struct side bare;
  double cpu_us[ROUNDS];
  int pid = (int)strtol(argv[3], NULL, 10);
  if (latencies_init(&latencies, figure->callers, figure->calls) < 0)
    return -1;
  const struct unary_config config = {
      .server = argv[1], .conninfo = argv[2], .latencies = &latencies};
  const struct worker_task insert = insert_task(&config);
  const struct worker_task call = unary_task(&config);
  int rc = 0;
  for (int i = 0; i < ROUNDS && rc == 0; i++) {
    rc = copy_empty_tables(argv[2]);
    if (rc == 0)
      rc = run_side(&bare, i, &insert, &latencies);
    double before = process_cpu_seconds(pid);
    if (rc == 0)
      rc = run_side(&unary, i, &call, &latencies);
    cpu_us[i] = (process_cpu_seconds(pid) - before) * 1e6 / (figure->callers * figure->calls);
  }
  latencies_deinit(&latencies);
  if (rc == 0)
    print_figure(figure, &unary, &bare, cpu_us);
  return rc;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: bench_unary SERVER CONNINFO DAEMON_PID\n", stderr);
    return 2;
  }
  for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
    if (run_figure(argv, &figures[i]) < 0)
      return 1;
  return 0;
}
