#include "ledger/store_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/binary.h"

/* READ ──▶ done, or, when the row has no origin yet, NAME ──▶ done. */
struct store_reading {
  struct pg_lease *conn;                  /* NULL before it is granted */
  char origin[CHECKPOINT_ORIGIN_MAX + 1]; /* what the settings say */
  int64_t deadline_us;
  store_row_cb *cb;
  void *arg;
  bool is_naming;
  bool has_origin;
  struct store_row row;
  struct error err; /* what the rows showed to be wrong */
};

static void finish(struct store_reading *r, const struct error *err) {
  if (r->conn)
    pg_release(r->conn);
  r->cb(r->arg, err ? NULL : &r->row, err);
  free(r);
}

enum column { STORE_ID, ORIGIN, EPOCH, NEXT_LEDGER_ID, COLUMNS };

static void read_row(struct store_reading *r, const PGresult *result) {
  if (PQntuples(result) != 1) {
    error_set(&r->err, ERR_FAILED_PRECONDITION,
              "the table store has %d rows instead of one: restore the row that migrate made",
              PQntuples(result));
    return;
  }
  struct str origin = pg_field(result, 0, ORIGIN);
  if (PQnfields(result) != COLUMNS || origin.len > CHECKPOINT_ORIGIN_MAX ||
      !pg_get_uuid(pg_field(result, 0, STORE_ID), &r->row.store_id) ||
      !pg_get_int4(pg_field(result, 0, EPOCH), &r->row.epoch) ||
      !pg_get_int8(pg_field(result, 0, NEXT_LEDGER_ID), &r->row.next_ledger_id)) {
    error_set(&r->err, ERR_INTERNAL, "the row of store can't be read");
    return;
  }
  r->has_origin = origin.len > 0;
  memcpy(r->row.origin, origin.data, origin.len);
  r->row.origin[origin.len] = '\0';
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct store_reading *r = arg;
  if (statement == (r->is_naming ? 1 : 0))
    read_row(r, result);
}

static void check_origin(struct store_reading *r) {
  if (r->origin[0] && strcmp(r->origin, r->row.origin) != 0)
    error_set(&r->err, ERR_INVALID_ARGUMENT,
              "ledger.origin: got \"%s\", but this database is the store \"%s\", which is its name "
              "for good: set ledger.origin to that or to nothing, or name another database",
              r->origin, r->row.origin);
}

static void send_step(struct store_reading *r);

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct store_reading *r = arg;
  bool ok = outcome->kind == PG_OK && r->err.code == ERR_OK;
  if (ok && !r->has_origin && !r->is_naming) {
    r->is_naming = true;
    send_step(r);
    return;
  }
  if (ok && !r->has_origin)
    error_set(&r->err, ERR_FAILED_PRECONDITION,
              "the table store has no name, and takes none: a trigger or rule on it may be why");
  else if (ok)
    check_origin(r);
  if (outcome->kind != PG_OK)
    finish(r, &outcome->err);
  else
    finish(r, r->err.code == ERR_OK ? NULL : &r->err);
}

/* When two daemons are the first, the second's update waits for the first's and finds a name. */
static const char name_sql[] =
    "UPDATE store SET origin = coalesce(nullif($1, ''),"
    " 'auditstore/' || left(replace(store_id::text, '-', ''), 16)) WHERE origin IS NULL";
static const char read_sql[] = "SELECT store_id, origin, epoch, next_ledger_id FROM store";

static void send_step(struct store_reading *r) {
  static const Oid types[] = {PG_TEXT};
  static const struct pg_statement naming = {
      .sql = name_sql, .param_count = 1, .param_types = types};
  static const struct pg_statement reading = {.sql = read_sql};
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  if (r->is_naming) {
    const char *values[] = {r->origin};
    const int lengths[] = {(int)strlen(r->origin)};
    pg_send(r->conn, &naming, &(struct pg_params){.values = values, .lengths = lengths});
  }
  pg_send(r->conn, &reading, NULL);
  pg_run(r->conn, r->deadline_us, &cb, r);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct store_reading *r = arg;
  r->conn = conn;
  if (conn)
    send_step(r);
  else
    finish(r, err);
}

void store_row_read(struct pg_pool *pool, const char *origin, int64_t deadline_us, store_row_cb *cb,
                    void *arg) {
  struct store_reading *r = xcalloc(1, sizeof(*r));
  snprintf(r->origin, sizeof(r->origin), "%s", origin);
  r->deadline_us = deadline_us;
  r->cb = cb;
  r->arg = arg;
  pg_acquire(pool, deadline_us, "store's row", on_acquired, r);
}
