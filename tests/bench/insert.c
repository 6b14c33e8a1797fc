#include "base/buf.h"
#include "base/clock.h"
#include "bench/copy.h"
#include "bench/sample.h"
#include "bench/unary.h"

#include <libpq-fe.h>
#include <stdio.h>

#define ROW_MAX_BYTES 4096

struct insert_state {
  const struct unary_config *config;
  int worker;
  PGconn *conn;
  struct uuid_v7 ids;
  struct buf row;
};

static int64_t now_us(void) {
  return clock_monotonic_us(&clock_system);
}

/* A row of COPY is its parameters, each behind its length. */
static int insert(struct insert_state *s, int number) {
  const char *values[COPY_COLUMN_COUNT];
  int lengths[COPY_COLUMN_COUNT];
  int formats[COPY_COLUMN_COUNT];
  struct sample sample;
  sample_make(&sample, &s->ids, number);
  buf_clear(&s->row);
  if (!copy_put_row(&s->row, &sample, s->worker, number))
    return -1;
  const uint8_t *at = buf_bytes(&s->row) + 2;
  for (int i = 0; i < COPY_COLUMN_COUNT; i++) {
    lengths[i] = at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    values[i] = (const char *)at + 4;
    formats[i] = 1;
    at += 4 + lengths[i];
  }
  PGresult *result =
      PQexecPrepared(s->conn, "insert", COPY_COLUMN_COUNT, values, lengths, formats, 1);
  bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
  if (!ok)
    fprintf(stderr, "bench: %s", PQerrorMessage(s->conn));
  PQclear(result);
  return ok ? 0 : -1;
}

static void *insert_prepare(const void *config, int worker) {
  static struct insert_state state; /* of this process, for its whole life */
  state.config = config;
  state.worker = worker;
  buf_init(&state.row, ROW_MAX_BYTES);
  state.conn = PQconnectdb(state.config->conninfo);
  PGresult *result = PQprepare(state.conn, "insert",
                               "INSERT INTO audit_events (" COPY_COLUMNS
                               ") VALUES ($1, $2, $3, "
                               "$4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, "
                               "$18, $19, $20)",
                               0, NULL);
  bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
  if (!ok)
    fprintf(stderr, "bench: %s", PQerrorMessage(state.conn));
  PQclear(result);
  return ok && insert(&state, -1) == 0 ? &state : NULL;
}

static int insert_run(void *arg) {
  struct insert_state *s = arg;
  for (int i = 0; i < s->config->latencies->per_worker; i++) {
    int64_t began_us = now_us();
    if (insert(s, i) < 0)
      return 1;
    latencies_set(s->config->latencies, s->worker, i, now_us() - began_us);
  }
  return 0;
}

struct worker_task insert_task(const struct unary_config *config) {
  return (struct worker_task){.prepare = insert_prepare, .run = insert_run, .config = config};
}
