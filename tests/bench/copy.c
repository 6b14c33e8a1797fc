#include "bench/copy.h"

#include "base/buf.h"
#include "bench/sample.h"
#include "pg/binary.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One CopyData message each; larger ones gain nothing. */
#define COPY_CHUNK_BYTES (64 * 1024)

struct copy_state {
  PGconn *conn;
  struct buf rows; /* the whole of it, encoded before the clock starts */
};

bool copy_put_row(struct buf *out, const struct sample *s, int worker, int64_t number) {
  static const struct pg_inet ip = {.length = 4, .bytes = {192, 0, 2, 7}};
  return buf_append_be16(out, COPY_COLUMN_COUNT) && pg_put_uuid(out, &s->id) &&
         pg_put_timestamptz(out, s->time_us) && pg_put_timestamptz(out, s->time_us) &&
         pg_put_int8(out, 1000 + worker) && pg_put_int8(out, number) &&
         pg_put_text(out, str_z(SAMPLE_TYPE)) && pg_put_text(out, str_z(SAMPLE_CATEGORY)) &&
         pg_put_text(out, str_z(SAMPLE_ACTION)) && pg_put_int2(out, 1) && pg_put_int2(out, 2) &&
         pg_put_text(out, str_z(SAMPLE_ACTOR_TYPE)) && pg_put_text(out, str_z(s->actor_id)) &&
         pg_put_inet(out, &ip) && pg_put_text(out, str_z(SAMPLE_RESOURCE_TYPE)) &&
         pg_put_text(out, str_z(s->resource_id)) && pg_put_text(out, str_z(SAMPLE_NAMESPACE)) &&
         pg_put_text(out, str_z(s->correlation_id)) && pg_put_int8(out, 1500) &&
         pg_put_bool(out, false) && pg_put_text(out, str_z(s->event_data));
}

static bool encode(struct buf *out, int worker, int count) {
  static const char signature[] = "PGCOPY\n\377\r\n\0"; /* 11 bytes, manual of COPY */
  buf_init(out, (size_t)count * 1024 + 1024);
  bool ok = buf_append(out, signature, 11) && buf_append_be32(out, 0) && buf_append_be32(out, 0);
  struct uuid_v7 ids = {0};
  for (int i = 0; ok && i < count; i++) {
    struct sample s;
    sample_make(&s, &ids, i);
    ok = copy_put_row(out, &s, worker, i);
  }
  return ok && buf_append_be16(out, 0xffff);
}

static void *copy_prepare(const void *config, int worker) {
  const struct copy_config *c = config;
  struct copy_state *state = calloc(1, sizeof(*state));
  if (!state || !encode(&state->rows, worker, c->events_per_worker))
    return NULL;
  state->conn = PQconnectdb(c->conninfo);
  if (PQstatus(state->conn) == CONNECTION_OK)
    return state;
  fprintf(stderr, "bench: %s", PQerrorMessage(state->conn));
  return NULL;
}

static int copy_fail(const PGconn *conn) {
  fprintf(stderr, "bench: COPY: %s", PQerrorMessage(conn));
  return 1;
}

static int copy_run(void *arg) {
  struct copy_state *state = arg;
  PGresult *result =
      PQexec(state->conn, "COPY audit_events (" COPY_COLUMNS ") FROM STDIN (FORMAT binary)");
  bool ok = PQresultStatus(result) == PGRES_COPY_IN;
  PQclear(result);
  while (ok && buf_len(&state->rows) > 0) {
    size_t len = buf_len(&state->rows);
    len = len < COPY_CHUNK_BYTES ? len : COPY_CHUNK_BYTES;
    ok = PQputCopyData(state->conn, (const char *)buf_bytes(&state->rows), (int)len) == 1;
    buf_consume(&state->rows, len);
  }
  if (!ok || PQputCopyEnd(state->conn, NULL) != 1)
    return copy_fail(state->conn);
  result = PQgetResult(state->conn);
  ok = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  return ok ? 0 : copy_fail(state->conn);
}

struct worker_task copy_task(const struct copy_config *config) {
  return (struct worker_task){.prepare = copy_prepare, .run = copy_run, .config = config};
}

int copy_empty_tables(const char *conninfo) {
  PGconn *conn = PQconnectdb(conninfo);
  PGresult *result = PQexec(conn, "TRUNCATE audit_events; CHECKPOINT");
  int rc = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : -1;
  if (rc < 0)
    fprintf(stderr, "bench: %s", PQerrorMessage(conn));
  PQclear(result);
  PQfinish(conn);
  return rc;
}
