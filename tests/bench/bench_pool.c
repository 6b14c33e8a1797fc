/*
 * bench_pool: what the pool's settings do to bursts of writes, side by side in one run.
 *
 *   bench_pool HOST PORT DATABASE ROLE PASSWORD_FILE
 *
 * WRITERS processes send bursts of BURST requests, wait for the answers and think; each request is
 * acquire, one-row INSERT with commit, release. Prints one JSON line per variant, each number the
 * median of ROUNDS rounds in which the variants take turns, and one for what a lease costs.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "bench/median.h"
#include "bench/pool_side.h"

enum { ROUNDS = 5, SECONDS = 3, LEASES_AT_ONCE = 25 };

struct variant {
  const char *name;
  int max_open;
  int max_idle;
  int64_t shrink_delay_us;
  int max_connecting;
};

static const struct variant variants[] = {
    {"25/5, idle_shrink_delay off", 25, 5, CLOCK_NEVER, 16},
    {"25/5, idle_shrink_delay 1s", 25, 5, CLOCK_US_PER_S, 16},
    {"100/50, idle_shrink_delay off", 100, 50, CLOCK_NEVER, 16},
    {"25/25, idle_shrink_delay off", 25, 25, CLOCK_NEVER, 16},
    {"25/5, off, max_connecting 2", 25, 5, CLOCK_NEVER, 2},
    {"25/5, 1s, max_connecting 2", 25, 5, CLOCK_US_PER_S, 2},
};

enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };

struct figures {
  double events_per_s;
  double p50_ms;
  double p99_ms;
  double max_ms;
  double dials_per_s;
};

/* ---- numbers ---- */

static int compare_us(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a;
  uint32_t y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* The latency below which `percent` of them are. */
static double percentile_ms(const uint32_t *sorted, int count, int percent) {
  int64_t index = (int64_t)count * percent / 100;
  return (double)sorted[index] / CLOCK_US_PER_MS;
}

static void summarize(const struct pool_writers *writers, struct figures *ret_figures) {
  uint32_t *all = malloc(LATENCIES_MAX * sizeof(*all));
  int count = 0;
  for (int i = 0; all && i < WRITERS; i++) {
    for (int j = 0; j < writers->latencies[i].count; j++)
      all[count++] = writers->latencies[i].us[j];
  }
  if (!all || count == 0)
    exit(1);
  qsort(all, (size_t)count, sizeof(*all), compare_us);
  ret_figures->events_per_s = (double)count / SECONDS;
  ret_figures->p50_ms = percentile_ms(all, count, 50);
  ret_figures->p99_ms = percentile_ms(all, count, 99);
  ret_figures->max_ms = (double)all[count - 1] / CLOCK_US_PER_MS;
  free(all);
}

/* One of the doubles in a struct figures, over all rounds. */
static double median_of(const struct figures *rounds, size_t offset) {
  double values[ROUNDS];
  for (int i = 0; i < ROUNDS; i++)
    values[i] = *(const double *)(const void *)((const char *)&rounds[i] + offset);
  return median(values, ROUNDS);
}

/* ---- rounds ---- */

static struct config_database configure(char **argv, const struct config *defaults) {
  struct config_database config = defaults->database;
  config.host = argv[1];
  config.port = (int)strtol(argv[2], NULL, 10);
  config.name = argv[3];
  config.user = argv[4];
  config.password_file = argv[5];
  config.sslmode = "disable";
  config.application_name = "bench_pool";
  return config;
}

static void empty_table(const struct config_database *config) {
  static const char sql[] =
      "SET client_min_messages = warning;"
      "CREATE TABLE IF NOT EXISTS bench_pool (id uuid PRIMARY KEY, at timestamptz NOT NULL,"
      " actor text NOT NULL, data json NOT NULL);"
      "CREATE INDEX IF NOT EXISTS bench_pool_at ON bench_pool (at);"
      "CREATE INDEX IF NOT EXISTS bench_pool_actor ON bench_pool (actor);"
      "TRUNCATE bench_pool; CHECKPOINT";
  char conninfo[512];
  snprintf(conninfo, sizeof(conninfo), "host=%s port=%d dbname=%s user=auditstore", config->host,
           config->port, config->name);
  PGconn *conn = PQconnectdb(conninfo);
  PGresult *result = PQexec(conn, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    fprintf(stderr, "bench_pool: %s", PQerrorMessage(conn));
    exit(1);
  }
  PQclear(result);
  PQfinish(conn);
}

static void run_round(struct config_database config, const struct variant *variant,
                      struct figures *ret_figures) {
  struct pool_writers writers;
  struct pool_side side;
  config.max_open_conns = variant->max_open;
  config.max_idle_conns = variant->max_idle;
  config.idle_shrink_delay_us = variant->shrink_delay_us;
  config.max_connecting = variant->max_connecting;
  empty_table(&config);
  if (pool_writers_start(&writers, SECONDS) < 0)
    exit(1);
  pool_side_open(&side, &config);
  pool_side_serve(&side, &writers);
  pool_side_close(&side);
  if (pool_writers_finish(&writers) < 0)
    exit(1);
  summarize(&writers, ret_figures);
  ret_figures->dials_per_s = (double)side.dials / SECONDS;
  pool_writers_free(&writers);
}

#define MEDIAN(rounds, field) median_of(rounds, offsetof(struct figures, field))

static void print_variant(const struct variant *variant, const struct figures *rounds,
                          const struct figures *first) {
  double events = MEDIAN(rounds, events_per_s);
  double p99 = MEDIAN(rounds, p99_ms);
  printf(
      "{\"bench\":\"pool.bursts\",\"variant\":\"%s\",\"writers\":%d,\"burst\":%d,\"rounds\":%d,"
      "\"max_connecting\":%d,\"events_per_s\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,"
      "\"max_ms\":%.1f,\"dials_per_s\":%.1f,\"events_to_first\":%.2f,\"p99_to_first\":%.3f}\n",
      variant->name, WRITERS, BURST, ROUNDS, variant->max_connecting, events,
      MEDIAN(rounds, p50_ms), p99, MEDIAN(rounds, max_ms), MEDIAN(rounds, dials_per_s),
      events / MEDIAN(first, events_per_s), p99 / MEDIAN(first, p99_ms));
  fflush(stdout);
}

static void run_lease_cost(struct config_database config) {
  struct pool_side side;
  config.max_open_conns = LEASES_AT_ONCE;
  config.max_idle_conns = LEASES_AT_ONCE;
  pool_side_open(&side, &config);
  double alone_ns = pool_side_lease_ns(&side, 1);
  double many_ns = pool_side_lease_ns(&side, LEASES_AT_ONCE);
  pool_side_close(&side);
  printf(
      "{\"bench\":\"pool.lease\",\"at_once\":%d,\"acquire_and_release_ns\":%.0f,"
      "\"alone_in_its_turn_ns\":%.0f,\"read_of_an_idle_socket_ns\":%.0f}\n",
      LEASES_AT_ONCE, many_ns, alone_ns, pool_side_read_ns());
}

int main(int argc, char **argv) {
  static struct figures rounds[VARIANTS][ROUNDS];
  const struct config_input nothing = {0};
  struct config defaults;
  if (argc != 6) {
    fputs("usage: bench_pool HOST PORT DATABASE ROLE PASSWORD_FILE\n", stderr);
    return 2;
  }
  log_configure(LOG_ERROR, LOG_TEXT);
  if (config_load(&defaults, &nothing, stderr) < 0)
    return 1;
  struct config_database config = configure(argv, &defaults);
  run_lease_cost(config);
  for (int i = 0; i < ROUNDS; i++) {
    for (int j = 0; j < VARIANTS; j++)
      run_round(config, &variants[j], &rounds[j][i]);
  }
  for (int j = 0; j < VARIANTS; j++)
    print_variant(&variants[j], rounds[j], rounds[0]);
  config_deinit(&defaults);
  return 0;
}
