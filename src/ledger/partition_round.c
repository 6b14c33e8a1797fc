#include "ledger/partition_round.h"

#include "base/alloc.h"
#include "pg/binary.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_MAX_BYTES 4096
/* A lock not granted, or a deadlock, is tried again so often; each try waits by itself. */
#define MAX_TRIES 3

/*
 *   ROUND_LOAD ──▶ ROUND_MAKE, once per missing month ──▶ ROUND_VERIFY
 *        └──────────────── nothing is missing ──────────▶ done
 */
enum round_step { ROUND_LOAD, ROUND_MAKE, ROUND_VERIFY };

struct partition_round {
  struct pg_lease *conn; /* lease, NULL before it is granted */
  int64_t deadline_us;
  partition_round_cb *cb;
  void *arg;
  enum round_step step;
  int month; /* ROUND_MAKE: the one being made */
  int tries;
  bool is_loaded;
  struct month_set wanted;
  struct month_set existing;
  int64_t locks_of_query;
  int64_t lock_slots;
  struct error err; /* the first failure */
};

static void round_finish(struct partition_round *round) {
  if (round->conn)
    pg_release(round->conn);
  struct partition_report report = {
      .existing = round->is_loaded ? &round->existing : NULL,
      .err = round->err.code ? &round->err : NULL,
      .locks_of_query = round->locks_of_query,
      .lock_slots = round->lock_slots,
  };
  round->cb(round->arg, &report);
  free(round);
}

static void round_keep_error(struct partition_round *round, const struct error *err) {
  if (!round->err.code)
    round->err = *err;
}

/* The first wanted month at or after `month` that doesn't exist; past MONTH_MAX when there is none.
 */
static int next_missing(const struct partition_round *round, int month) {
  while (month <= MONTH_MAX &&
         (!month_set_has(&round->wanted, month) || month_set_has(&round->existing, month)))
    month++;
  return month;
}

/* ---- the catalog ---- */

static bool read_bound(const PGresult *result, int row, int column, int64_t *ret_us) {
  return pg_get_timestamptz(pg_field(result, row, column), ret_us);
}

static void take_locks(struct partition_round *round, const PGresult *result) {
  if (PQntuples(result) != 1 || !pg_get_int8(pg_field(result, 0, 0), &round->locks_of_query) ||
      !pg_get_int8(pg_field(result, 0, 1), &round->lock_slots))
    round->lock_slots = 0;
}

static void on_catalog(void *arg, int statement, const PGresult *result) {
  struct partition_round *round = arg;
  if (statement == 1) {
    take_locks(round, result);
    return;
  }
  memset(&round->existing, 0, sizeof(round->existing));
  for (int row = 0; row < PQntuples(result); row++) {
    int64_t from_us = 0;
    int64_t to_us = 0;
    if (read_bound(result, row, 0, &from_us) && read_bound(result, row, 1, &to_us))
      month_set_add_range(&round->existing, from_us, to_us);
  }
  round->is_loaded = true;
}

static void on_catalog_done(void *arg, const struct pg_outcome *outcome);

static void round_read_catalog(struct partition_round *round, enum round_step step) {
  /* Bounds, not names: what a table is called proves nothing. The text of a bound is read back in
   * the session that wrote it, so its date style and time zone don't matter. */
  static const struct pg_statement statement = {
      .sql =
          "SELECT greatest(CASE b[1] WHEN 'MINVALUE' THEN '-infinity' ELSE btrim(b[1], '''') "
          "                END::timestamptz, '0001-01-01 00:00:00+00'), "
          "       least(CASE b[2] WHEN 'MAXVALUE' THEN 'infinity' ELSE btrim(b[2], '''') "
          "             END::timestamptz, '10000-01-01 00:00:00+00') "
          "FROM (SELECT regexp_match(pg_get_expr(c.relpartbound, c.oid), "
          "                          'FROM \\((.*)\\) TO \\((.*)\\)') AS b "
          "      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
          "      WHERE i.inhparent = 'audit_events'::regclass AND NOT i.inhdetachpending) p "
          "WHERE b IS NOT NULL"};
  /* Each partition and each of its indexes is locked by a query that reads it. */
  static const struct pg_statement locks = {
      .sql =
          "SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass)"
          "       * (SELECT 1 + count(*) FROM pg_index"
          "          WHERE indrelid = 'audit_events'::regclass),"
          "       current_setting('max_locks_per_transaction')::int8"
          "       * (current_setting('max_connections')::int8"
          "          + current_setting('max_prepared_transactions')::int8)"};
  static const struct pg_pipeline_cb cb = {.on_result = on_catalog, .on_done = on_catalog_done};
  round->step = step;
  pg_send(round->conn, &statement, NULL);
  pg_send(round->conn, &locks, NULL);
  pg_run(round->conn, round->deadline_us, &cb, round);
}

/* ---- making ---- */

static void on_made(void *arg, const struct pg_outcome *outcome);

static void round_make(struct partition_round *round) {
  static const struct pg_pipeline_cb cb = {.on_done = on_made};
  struct buf script;
  buf_init(&script, SCRIPT_MAX_BYTES);
  bool ok = month_partition_sql(round->month, &script) && buf_append(&script, "", 1);
  assert(ok);
  (void)ok;
  pg_run_script(round->conn, (const char *)buf_bytes(&script), round->deadline_us, &cb, round);
  buf_deinit(&script);
}

static void round_make_next(struct partition_round *round, int month) {
  round->month = next_missing(round, month);
  round->tries = 0;
  if (round->month > MONTH_MAX) {
    round_read_catalog(round, ROUND_VERIFY);
    return;
  }
  round->step = ROUND_MAKE;
  round_make(round);
}

static bool is_worth_another_try(const struct pg_outcome *outcome) {
  static const char *const states[] = {"40001", "40P01", "55P03"};
  for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
    if (strcmp(outcome->sqlstate, states[i]) == 0)
      return true;
  }
  return false;
}

static void on_made(void *arg, const struct pg_outcome *outcome) {
  struct partition_round *round = arg;
  if (outcome->kind == PG_REFUSED && is_worth_another_try(outcome) && ++round->tries < MAX_TRIES) {
    round_make(round);
    return;
  }
  if (outcome->kind != PG_OK) {
    char name[MONTH_NAME_SIZE];
    month_partition_name(round->month, name);
    struct error err = outcome->err;
    error_prefix(&err, "partition %s", name);
    round_keep_error(round, &err);
  }
  if (outcome->kind == PG_LOST)
    round_finish(round);
  else
    round_make_next(round, round->month + 1);
}

/* ---- the frame ---- */

static void round_verify(struct partition_round *round) {
  int month = next_missing(round, MONTH_MIN);
  if (month > MONTH_MAX) {
    round->err.code = ERR_OK;
    return;
  }
  if (round->err.code)
    return;
  char name[MONTH_NAME_SIZE];
  month_partition_name(month, name);
  error_set(&round->err, ERR_FAILED_PRECONDITION,
            "there is a table %s, but it isn't the partition of audit_events for that month: "
            "rename it, or attach it",
            name);
}

static void on_catalog_done(void *arg, const struct pg_outcome *outcome) {
  struct partition_round *round = arg;
  if (outcome->kind != PG_OK) {
    struct error err = outcome->err;
    error_prefix(&err, "reading the partitions of audit_events");
    round_keep_error(round, &err);
    round_finish(round);
  } else if (round->step == ROUND_LOAD && next_missing(round, MONTH_MIN) <= MONTH_MAX) {
    round_make_next(round, MONTH_MIN);
  } else {
    round_verify(round);
    round_finish(round);
  }
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct partition_round *round = arg;
  round->conn = conn;
  if (conn) {
    round_read_catalog(round, ROUND_LOAD);
    return;
  }
  round_keep_error(round, err);
  round_finish(round);
}

void partition_round_start(struct pg_pool *pool, int64_t deadline_us,
                           const struct month_set *wanted, partition_round_cb *cb, void *arg) {
  struct partition_round *round = xcalloc(1, sizeof(*round));
  round->deadline_us = deadline_us;
  round->wanted = *wanted;
  round->cb = cb;
  round->arg = arg;
  pg_acquire(pool, deadline_us, "partitions", on_acquired, round);
}
