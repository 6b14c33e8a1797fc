#include "bench/unnest.h"

#include "base/buf.h"
#include "bench/copy.h"
#include "bench/sample.h"
#include "pg/binary.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#define ROW_MAX_BYTES 4096

static const char insert_sql[] =
    "INSERT INTO audit_events (" COPY_COLUMNS
    ") SELECT * FROM unnest($1::uuid[], $2::timestamptz[],"
    " $3::timestamptz[], $4::int8[], $5::int8[], $6::text[], $7::text[], $8::text[], $9::int2[],"
    " $10::int2[], $11::text[], $12::text[], $13::inet[], $14::text[], $15::text[], $16::text[],"
    " $17::text[], $18::int8[], $19::bool[], $20::json[])";

static const enum pg_type elements[COPY_COLUMN_COUNT] = {
    PG_UUID, PG_TIMESTAMPTZ, PG_TIMESTAMPTZ, PG_INT8, PG_INT8, PG_TEXT, PG_TEXT,
    PG_TEXT, PG_INT2,        PG_INT2,        PG_TEXT, PG_TEXT, PG_INET, PG_TEXT,
    PG_TEXT, PG_TEXT,        PG_TEXT,        PG_INT8, PG_BOOL, PG_JSON,
};

struct unnest_state {
  PGconn *conn;
  int batches;
  struct buf (*columns)[COPY_COLUMN_COUNT]; /* of each batch, encoded before the clock starts */
};

/* A row of COPY is an element of each array, behind its length. */
static bool put_row(struct buf columns[COPY_COLUMN_COUNT], const struct buf *row) {
  const uint8_t *at = buf_bytes(row) + 2;
  for (int i = 0; i < COPY_COLUMN_COUNT; i++) {
    size_t len = 4 + ((size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3]);
    if (!buf_append(&columns[i], at, len))
      return false;
    at += len;
  }
  return true;
}

static bool begin_batch(struct buf columns[COPY_COLUMN_COUNT], int events) {
  for (int i = 0; i < COPY_COLUMN_COUNT; i++) {
    buf_init(&columns[i], (size_t)events * ROW_MAX_BYTES);
    if (!pg_put_array(&columns[i], elements[i], events, false))
      return false;
  }
  return true;
}

static bool encode(struct unnest_state *state, const struct unnest_config *config, int worker) {
  struct uuid_v7 ids = {0};
  struct buf row;
  bool ok = true;
  buf_init(&row, ROW_MAX_BYTES);
  for (int i = 0; ok && i < config->events_per_worker; i++) {
    struct sample sample;
    struct buf *columns = state->columns[i / config->batch_events];
    if (i % config->batch_events == 0)
      ok = begin_batch(columns, config->batch_events);
    sample_make(&sample, &ids, i);
    buf_clear(&row);
    ok = ok && copy_put_row(&row, &sample, worker, i) && put_row(columns, &row);
  }
  buf_deinit(&row);
  return ok;
}

static bool connect(struct unnest_state *state, const char *conninfo) {
  state->conn = PQconnectdb(conninfo);
  PGresult *result = PQprepare(state->conn, "insert", insert_sql, 0, NULL);
  bool ok = PQresultStatus(result) == PGRES_COMMAND_OK && PQenterPipelineMode(state->conn) == 1;
  PQclear(result);
  return ok;
}

static void *unnest_prepare(const void *config, int worker) {
  static struct unnest_state state; /* of this process, for its whole life */
  const struct unnest_config *c = config;
  state.batches = c->events_per_worker / c->batch_events;
  state.columns = calloc((size_t)state.batches, sizeof(*state.columns));
  if (!state.columns || !encode(&state, c, worker))
    return NULL;
  if (connect(&state, c->conninfo))
    return &state;
  fprintf(stderr, "bench: %s", PQerrorMessage(state.conn));
  return NULL;
}

static bool send_batch(struct unnest_state *state, int batch) {
  const char *values[COPY_COLUMN_COUNT];
  int lengths[COPY_COLUMN_COUNT];
  int formats[COPY_COLUMN_COUNT];
  for (int i = 0; i < COPY_COLUMN_COUNT; i++) {
    const struct buf *column = &state->columns[batch][i];
    values[i] = (const char *)buf_bytes(column);
    lengths[i] = (int)buf_len(column);
    formats[i] = 1;
  }
  return PQsendQueryPrepared(state->conn, "insert", COPY_COLUMN_COUNT, values, lengths, formats,
                             1) == 1 &&
         PQpipelineSync(state->conn) == 1;
}

/* Each batch has a result, a NULL behind it, and the answer to its sync. */
static bool read_batch(struct unnest_state *state) {
  static const ExecStatusType expected[] = {PGRES_COMMAND_OK, PGRES_PIPELINE_SYNC};
  for (int i = 0; i < 2; i++) {
    PGresult *result = PQgetResult(state->conn);
    bool ok = PQresultStatus(result) == expected[i];
    PQclear(result);
    if (!ok || (i == 0 && PQgetResult(state->conn)))
      return false;
  }
  return true;
}

/* The next batch is always on its way when one is answered. */
static int unnest_run(void *arg) {
  struct unnest_state *state = arg;
  bool ok = send_batch(state, 0);
  for (int i = 1; ok && i <= state->batches; i++)
    ok = (i == state->batches || send_batch(state, i)) && read_batch(state);
  if (!ok)
    fprintf(stderr, "bench: INSERT: %s", PQerrorMessage(state->conn));
  return ok ? 0 : 1;
}

struct worker_task unnest_task(const struct unnest_config *config) {
  return (struct worker_task){.prepare = unnest_prepare, .run = unnest_run, .config = config};
}
