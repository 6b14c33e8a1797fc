/*
 * bench_ingest: how fast events get in, beside raw COPY of the same rows in the same run, and raw
 * inserts from arrays beside that.
 *
 *   bench_ingest SERVER CONNINFO DAEMON_PID
 *
 * Prints one JSON line per figure, each the median of ROUNDS rounds in which COPY and the daemon
 * take turns on the same machine.
 */
#include "bench/copy.h"
#include "bench/median.h"
#include "bench/stream.h"
#include "bench/unnest.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS            5
#define EVENTS_PER_ROUND  100000
#define SMALL_ROUND       20000
#define COPY_CONNECTIONS  4
#define BATCHES_IN_FLIGHT 32
#define UNNEST_EVENTS     500 /* in a transaction */

struct figure {
  int clients;
  int batch_events;
  int events; /* a round's, of all clients together */
};

static const int client_counts[] = {1, 4, 12};
static const int batch_sizes[] = {1, 10, 100, 1000};

struct round {
  double copy_per_s;
  double stream_per_s;
  double cpu_us;
};

static int run_round(char **argv, const struct figure *figure, struct round *ret_round) {
  const struct copy_config copy = {argv[2], EVENTS_PER_ROUND / COPY_CONNECTIONS};
  const struct stream_config stream = {
      .server = argv[1],
      .events_per_worker = figure->events / figure->clients,
      .batch_events = figure->batch_events,
      .batches_in_flight = BATCHES_IN_FLIGHT,
  };
  int pid = (int)strtol(argv[3], NULL, 10);
  const struct worker_task copy_work = copy_task(&copy);
  const struct worker_task stream_work = stream_task(&stream);
  if (copy_empty_tables(argv[2]) < 0)
    return -1;
  double copy_seconds = workers_run(COPY_CONNECTIONS, &copy_work);
  if (copy_empty_tables(argv[2]) < 0)
    return -1;
  double cpu_before = process_cpu_seconds(pid);
  double stream_seconds = workers_run(figure->clients, &stream_work);
  double cpu_after = process_cpu_seconds(pid);
  if (copy_seconds <= 0 || stream_seconds <= 0 || cpu_before < 0 || cpu_after < 0)
    return -1;
  ret_round->copy_per_s = EVENTS_PER_ROUND / copy_seconds;
  ret_round->stream_per_s = figure->events / stream_seconds;
  ret_round->cpu_us = (cpu_after - cpu_before) * 1e6 / figure->events;
  return 0;
}

static int run_figure(char **argv, const struct figure *figure) {
  double copy[ROUNDS];
  double stream[ROUNDS];
  double ratio[ROUNDS];
  double cpu[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    struct round round;
    if (run_round(argv, figure, &round) < 0)
      return -1;
    copy[i] = round.copy_per_s;
    stream[i] = round.stream_per_s;
    ratio[i] = round.stream_per_s / round.copy_per_s;
    cpu[i] = round.cpu_us;
  }
  printf(
      "{\"bench\":\"ingest.stream\",\"clients\":%d,\"batch_events\":%d,\"rounds\":%d,"
      "\"events_per_s\":%.0f,\"raw_copy_per_s\":%.0f,\"ratio_to_copy\":%.2f,"
      "\"daemon_cpu_us_per_event\":%.2f,\"daemon_peak_mib\":%.0f}\n",
      figure->clients, figure->batch_events, ROUNDS, median(stream, ROUNDS), median(copy, ROUNDS),
      median(ratio, ROUNDS), median(cpu, ROUNDS), process_peak_mib((int)strtol(argv[3], NULL, 10)));
  fflush(stdout);
  return 0;
}

static int run_clients(char **argv, int clients) {
  for (size_t i = 0; i < sizeof(batch_sizes) / sizeof(batch_sizes[0]); i++) {
    const struct figure figure = {
        .clients = clients,
        .batch_events = batch_sizes[i],
        .events = batch_sizes[i] == 1 ? SMALL_ROUND : EVENTS_PER_ROUND,
    };
    if (run_figure(argv, &figure) < 0)
      return -1;
  }
  return 0;
}

static int run_yardsticks(const char *conninfo) {
  const struct copy_config copy = {conninfo, EVENTS_PER_ROUND / COPY_CONNECTIONS};
  const struct unnest_config unnest = {conninfo, EVENTS_PER_ROUND / COPY_CONNECTIONS,
                                       UNNEST_EVENTS};
  const struct worker_task copy_work = copy_task(&copy);
  const struct worker_task unnest_work = unnest_task(&unnest);
  double inserted[ROUNDS];
  double ratio[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    if (copy_empty_tables(conninfo) < 0)
      return -1;
    double copy_seconds = workers_run(COPY_CONNECTIONS, &copy_work);
    if (copy_empty_tables(conninfo) < 0)
      return -1;
    double unnest_seconds = workers_run(COPY_CONNECTIONS, &unnest_work);
    if (copy_seconds <= 0 || unnest_seconds <= 0)
      return -1;
    inserted[i] = EVENTS_PER_ROUND / unnest_seconds;
    ratio[i] = copy_seconds / unnest_seconds;
  }
  printf(
      "{\"bench\":\"ingest.raw_unnest\",\"connections\":%d,\"batch_events\":%d,\"rounds\":%d,"
      "\"events_per_s\":%.0f,\"ratio_to_copy\":%.2f}\n",
      COPY_CONNECTIONS, UNNEST_EVENTS, ROUNDS, median(inserted, ROUNDS), median(ratio, ROUNDS));
  fflush(stdout);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: bench_ingest SERVER CONNINFO DAEMON_PID\n", stderr);
    return 2;
  }
  if (run_yardsticks(argv[2]) < 0)
    return 1;
  for (size_t i = 0; i < sizeof(client_counts) / sizeof(client_counts[0]); i++) {
    if (run_clients(argv, client_counts[i]) < 0)
      return 1;
  }
  return 0;
}
