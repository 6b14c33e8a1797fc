#include "ledger/schema.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "ledger/locks.h"
#include "ledger/migrations.h"
#include "ledger/surroundings.h"
#include "pg/binary.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_VERSION_MIN 150000
#define CHECKSUM_BYTES     32
#define SCRIPT_MAX_BYTES   ((size_t)4 * 1024 * 1024)
#define DUPLICATE_KEY      "23505"
#define LOCK_TIMEOUT       "55P03"
#define NO_RIGHT           "42501"
#define NO_SUCH_TABLE      "42P01"
#define NO_SUCH_COLUMN     "42703"
#define NO_SUCH_FUNCTION   "42883"
/* Whoever reads or writes a table stands behind a migration that waits for it: it gives up soon,
 * lets them by for longer than it held them up, and tries again. */
#define LOCK_PATIENCE_MS 2000
#define LOCK_PAUSE_US    (3 * CLOCK_US_PER_S)

#define MEND "run: auditstored migrate --config FILE"

/*
 * One run, on one lease:
 *
 *   PROBE ──▶ READ ──▶ SURROUNDINGS, once nothing is missing ──▶ done
 *     │        ▲ │
 *     ▼        │ ▼      one transaction per missing migration; when another run was faster, its row
 *   CREATE ────┘ APPLY  refuses ours, and reading again shows what it did
 *
 * From CREATE and APPLY to HOLDER when a lock can't be had: who has it is told, and after a pause
 * it goes on with PROBE.
 */
enum schema_step {
  SCHEMA_PROBE,
  SCHEMA_CREATE,
  SCHEMA_READ,
  SCHEMA_APPLY,
  SCHEMA_HOLDER,
  SCHEMA_SURROUNDINGS,
};

struct schema_run {
  struct loop *loop;       /* borrowed */
  struct pg_lease *conn;   /* lease, NULL before it is granted */
  struct loop_timer timer; /* the pause before the next attempt */
  int64_t deadline_us;
  schema_cb *cb;
  void *arg;
  bool is_migrating;
  bool has_table;
  enum schema_step step;
  int32_t server_version;
  int version;      /* the database's, as far as known */
  struct error err; /* what the rows of this step showed to be wrong */
  char holder[256]; /* who has a lock that is waited for */
  char mend[256];   /* what helps when the role lacks a right */
};

int schema_version(void) {
  return migration_count;
}

static void schema_run_step(struct schema_run *run, enum schema_step step);

static void schema_finish(struct schema_run *run, const struct error *err) {
  if (run->conn)
    pg_release(run->conn);
  run->cb(run->arg, run->version, err);
  loop_timer_close(&run->timer, free, run);
}

/* ---- reading ---- */

/* In another encoding each text that it lacks a character for is refused, for good; in SQL_ASCII
 * nothing says what the bytes mean. */
static void check_encoding(struct schema_run *run, const PGresult *result) {
  struct str encoding = pg_field(result, 0, PQfnumber(result, "encoding"));
  if (!str_is(encoding, "UTF8"))
    error_set(&run->err, ERR_FAILED_PRECONDITION,
              "the database's encoding is %.*s, in which not every text can be stored; make "
              "another: createdb -E UTF8 --template template0 NAME",
              (int)encoding.len, encoding.data);
}

static void read_probe(struct schema_run *run, const PGresult *result) {
  if (PQntuples(result) != 1 || !pg_get_int4(pg_field(result, 0, 0), &run->server_version) ||
      !pg_get_bool(pg_field(result, 0, 1), &run->has_table)) {
    error_set(&run->err, ERR_INTERNAL, "unexpected answer to the question for the schema");
    return;
  }
  struct str mend = pg_field(result, 0, PQfnumber(result, "mend"));
  snprintf(run->mend, sizeof(run->mend), "%.*s", (int)mend.len, mend.data);
  check_encoding(run, result);
  if (run->server_version < SERVER_VERSION_MIN)
    error_set(&run->err, ERR_FAILED_PRECONDITION,
              "the server is PostgreSQL %d.%d; 15 or later is needed: upgrade the server",
              run->server_version / 10000, run->server_version % 10000);
}

static void checksum_of(const struct migration *migration, uint8_t ret_sum[CHECKSUM_BYTES]) {
  unsigned int len = 0;
  int ok = EVP_Digest(migration->sql, migration->sql_len, ret_sum, &len, EVP_sha256(), NULL);
  assert(ok && len == CHECKSUM_BYTES);
  (void)ok;
}

static int check_row(int row, int32_t version, struct str checksum, struct error *err) {
  if (version > migration_count)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "the database's schema is at version %d, this program knows %d: "
                     "install a program at least as new as the database's schema",
                     (int)version, migration_count);
  if (version != row + 1)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "schema_migrations has no row for version %d, but one for %d: "
                     "restore the table",
                     row + 1, (int)version);
  uint8_t sum[CHECKSUM_BYTES];
  checksum_of(&migrations[row], sum);
  if (!str_equal(checksum, str_of(sum, sizeof(sum))))
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "migration %d (%s) in the database differs from this program's (checksum): "
                     "run the program that made this database, or a release of it",
                     (int)version, migrations[row].name);
  return 0;
}

static void read_applied(struct schema_run *run, const PGresult *result) {
  int rows = PQntuples(result);
  /* The last row is looked at first: "too new" explains more than a checksum does. */
  int32_t last = 0;
  if (rows > 0 && !pg_get_int4(pg_field(result, rows - 1, 0), &last)) {
    error_set(&run->err, ERR_INTERNAL, "schema_migrations: unexpected type of version");
    return;
  }
  run->version = last;
  for (int row = last > migration_count ? rows - 1 : 0; row < rows; row++) {
    int32_t version = 0;
    if (!pg_get_int4(pg_field(result, row, 0), &version)) {
      error_set(&run->err, ERR_INTERNAL, "schema_migrations: unexpected type of version");
      return;
    }
    if (check_row(row, version, pg_field(result, row, 1), &run->err) < 0)
      return;
  }
}

static void read_holder(struct schema_run *run, const PGresult *result) {
  struct str text = PQntuples(result) == 1 ? pg_field(result, 0, 0) : str_z("nobody any more");
  snprintf(run->holder, sizeof(run->holder), "%.*s", (int)text.len, text.data);
}

/* One line for all of them, since a text of an error holds less. */
static void read_surroundings(struct schema_run *run, const PGresult *result) {
  struct surroundings found;
  if (surroundings_read(result, &found, &run->err) < 0 || found.count == 0)
    return;
  log_warn("on the tables stands what isn't ours", KV("count", found.count),
           KV("findings", (const char *)found.text));
  if (found.is_blocking)
    error_set(&run->err, ERR_FAILED_PRECONDITION,
              "what is done to the tables endangers what is written: %.400s", found.text);
}

/* ---- writing ---- */

/* Short of the deadline the attempts become shorter: they end with a lock's timeout, not with the
 * statement's, which couldn't tell what was waited for. */
static int lock_patience_ms(int ms) {
  return ms < 2 * LOCK_PATIENCE_MS ? ms / 2 + 1 : LOCK_PATIENCE_MS;
}

/* Waiting for another run, which holds nobody up, and long work are bounded by the run's deadline
 * alone. */
static bool add_frame(const struct schema_run *run, struct buf *script) {
  int ms = deadline_remaining_ms(run->loop->clock, run->deadline_us);
  return buf_append_format(script, "SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = 0;",
                           ms > 0 ? ms : 1) &&
         buf_append_str(script, LOCK_SCHEMA_SQL) &&
         buf_append_format(script, "SET LOCAL lock_timeout = %d;", lock_patience_ms(ms));
}

static bool add_create(struct buf *script) {
  return buf_append_str(script,
                        "CREATE TABLE IF NOT EXISTS schema_migrations ("
                        "  version    int4        PRIMARY KEY CHECK (version > 0),"
                        "  name       text        NOT NULL,"
                        "  checksum   bytea       NOT NULL,"
                        "  applied_at timestamptz NOT NULL DEFAULT now());");
}

/* The row comes first: when another run was faster, it stops us before any work. */
static bool add_migration(const struct migration *migration, struct buf *script) {
  uint8_t sum[CHECKSUM_BYTES];
  checksum_of(migration, sum);
  bool fits = buf_append_format(script,
                                "INSERT INTO schema_migrations (version, name, checksum) "
                                "VALUES (%d, '%s', '\\x",
                                migration->version, migration->name);
  for (size_t i = 0; fits && i < sizeof(sum); i++)
    fits = buf_append_format(script, "%02x", sum[i]);
  return fits && buf_append_str(script, "');\n") && buf_append_str(script, migration->sql);
}

/* ---- the run ---- */

static void on_result(void *arg, int statement, const PGresult *result) {
  (void)statement;
  struct schema_run *run = arg;
  if (run->step == SCHEMA_PROBE)
    read_probe(run, result);
  else if (run->step == SCHEMA_READ)
    read_applied(run, result);
  else if (run->step == SCHEMA_HOLDER)
    read_holder(run, result);
  else if (run->step == SCHEMA_SURROUNDINGS)
    read_surroundings(run, result);
}

static void after_probe(struct schema_run *run) {
  if (run->has_table)
    schema_run_step(run, SCHEMA_READ);
  else if (run->is_migrating)
    schema_run_step(run, SCHEMA_CREATE);
  else {
    struct error err;
    error_set(&err, ERR_FAILED_PRECONDITION, "the database has no schema yet: " MEND);
    schema_finish(run, &err);
  }
}

static void after_read(struct schema_run *run) {
  if (run->version == migration_count)
    schema_run_step(run, SCHEMA_SURROUNDINGS);
  else if (run->is_migrating)
    schema_run_step(run, SCHEMA_APPLY);
  else {
    struct error err;
    error_set(&err, ERR_FAILED_PRECONDITION,
              "the database's schema is at version %d, this program needs %d: " MEND, run->version,
              migration_count);
    schema_finish(run, &err);
  }
}

static bool was_applied_by_another(const struct schema_run *run, const struct pg_outcome *outcome) {
  return run->step == SCHEMA_APPLY && strcmp(outcome->sqlstate, DUPLICATE_KEY) == 0 &&
         strcmp(outcome->constraint, "schema_migrations_pkey") == 0;
}

static bool got_no_lock(const struct schema_run *run, const struct pg_outcome *outcome) {
  return (run->step == SCHEMA_CREATE || run->step == SCHEMA_APPLY) &&
         strcmp(outcome->sqlstate, LOCK_TIMEOUT) == 0;
}

static void prefix_migration(const struct schema_run *run, struct error *err) {
  error_prefix(err, "migration %d (%s)", run->version + 1, migrations[run->version].name);
}

static bool misses_what_was_made(const struct schema_run *run, const struct pg_outcome *outcome) {
  static const char *const states[] = {NO_SUCH_TABLE, NO_SUCH_COLUMN, NO_SUCH_FUNCTION};
  bool is_missing = false;
  for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
    is_missing = is_missing || strcmp(outcome->sqlstate, states[i]) == 0;
  return run->step == SCHEMA_SURROUNDINGS && is_missing;
}

static void add_mend(const struct schema_run *run, struct error *err) {
  char text[sizeof(err->text)];
  snprintf(text, sizeof(text), "%s", err->text);
  error_set(err, err->code, "%s: %s", text, run->mend);
}

static void fail(struct schema_run *run, const struct pg_outcome *outcome) {
  struct error err = outcome->err;
  if (run->step == SCHEMA_APPLY)
    prefix_migration(run, &err);
  else if (misses_what_was_made(run, outcome)) {
    err.code = ERR_FAILED_PRECONDITION;
    error_prefix(&err, "a part of the schema is gone, restore it or rename it back");
  } else
    error_prefix(&err, "schema");
  if (run->is_migrating && strcmp(outcome->sqlstate, NO_RIGHT) == 0)
    add_mend(run, &err);
  schema_finish(run, &err);
}

static void after_holder(struct schema_run *run) {
  int64_t again_at_us = clock_monotonic_us(run->loop->clock) + LOCK_PAUSE_US;
  if (again_at_us < run->deadline_us) {
    log_warn("migration waits for a lock", KV("migration", run->version + 1),
             KV("name", migrations[run->version].name), KV("holder", (const char *)run->holder));
    loop_timer_set(&run->timer, again_at_us);
    return;
  }
  struct error err;
  error_set(&err, ERR_TIMEOUT, "no lock could be had on a table in use, at last because of %s",
            run->holder);
  prefix_migration(run, &err);
  schema_finish(run, &err);
}

static void on_pause_end(void *arg) {
  schema_run_step(arg, SCHEMA_PROBE);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct schema_run *run = arg;
  if (was_applied_by_another(run, outcome)) {
    schema_run_step(run, SCHEMA_READ);
    return;
  }
  if (got_no_lock(run, outcome)) {
    schema_run_step(run, SCHEMA_HOLDER);
    return;
  }
  if (outcome->kind != PG_OK) {
    fail(run, outcome);
    return;
  }
  if (run->err.code) {
    schema_finish(run, &run->err);
    return;
  }
  switch (run->step) {
  case SCHEMA_PROBE:
    after_probe(run);
    break;
  case SCHEMA_CREATE:
  case SCHEMA_APPLY:
    schema_run_step(run, SCHEMA_READ);
    break;
  case SCHEMA_READ:
    after_read(run);
    break;
  case SCHEMA_HOLDER:
    after_holder(run);
    break;
  case SCHEMA_SURROUNDINGS:
    schema_finish(run, NULL);
    break;
  }
}

static const struct pg_pipeline_cb run_cb = {.on_result = on_result, .on_done = on_done};

static void run_script(struct schema_run *run) {
  struct buf script;
  buf_init(&script, SCRIPT_MAX_BYTES);
  /* A script that is cut off would record a migration without what it does. */
  bool fits = add_frame(run, &script) &&
              (run->step == SCHEMA_CREATE ? add_create(&script)
                                          : add_migration(&migrations[run->version], &script)) &&
              buf_append(&script, "", 1);
  assert(fits);
  (void)fits;
  pg_run_script(run->conn, (const char *)buf_bytes(&script), run->deadline_us, &run_cb, run);
  buf_deinit(&script);
}

/* Of those who have a lock on one of our tables, the one whose transaction is the oldest. What it
 * is that another user does, the server tells superusers alone. */
#define HOLDER_SQL                                                                                 \
  "SELECT format('process %s (%s, user %s), which has a lock on %s since %s', a.pid, "             \
  "  coalesce(nullif(a.application_name, ''), a.backend_type, '?'), coalesce(a.usename, '?'), "    \
  "  c.relname, coalesce(a.xact_start::timestamptz(0)::text, '?')) "                               \
  "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_class c ON c.oid = "           \
  "l.relation "                                                                                    \
  "WHERE l.granted AND a.pid <> pg_backend_pid() AND a.datname = current_database() "              \
  "AND c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace "               \
  "ORDER BY a.xact_start, c.oid LIMIT 1"

/* What mends a missing right: in an empty database that of the schema, later that of the tables. */
#define MEND_SQL                                                                                   \
  "coalesce((SELECT format('run migrate as %s, who owns the tables', pg_get_userbyid(relowner)) "  \
  "  FROM pg_class WHERE oid = to_regclass('schema_migrations')), "                                \
  "format('who owns the database runs: GRANT USAGE, CREATE ON SCHEMA %I TO %I', "                  \
  "  coalesce(current_schema(), 'public'), current_user))"

static void schema_run_step(struct schema_run *run, enum schema_step step) {
  static const struct pg_statement questions[] = {
      [SCHEMA_PROBE] = {.sql =
                            "SELECT current_setting('server_version_num')::int4, "
                            "to_regclass('schema_migrations') IS NOT NULL, "
                            "current_setting('server_encoding') AS encoding, " MEND_SQL " AS mend"},
      [SCHEMA_READ] = {.sql = "SELECT version, checksum FROM schema_migrations ORDER BY version"},
      [SCHEMA_HOLDER] = {.sql = HOLDER_SQL},
  };
  run->step = step;
  if (step == SCHEMA_CREATE || step == SCHEMA_APPLY) {
    run_script(run);
    return;
  }
  if (step == SCHEMA_SURROUNDINGS)
    surroundings_send(run->conn);
  else
    pg_send(run->conn, &questions[step], NULL);
  pg_run(run->conn, run->deadline_us, &run_cb, run);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct schema_run *run = arg;
  if (!conn) {
    schema_finish(run, err);
    return;
  }
  run->conn = conn;
  schema_run_step(run, SCHEMA_PROBE);
}

static struct schema_run *schema_run_new(struct loop *loop, int64_t deadline_us, schema_cb *cb,
                                         void *arg) {
  struct schema_run *run = xcalloc(1, sizeof(*run));
  run->loop = loop;
  loop_timer_init(&run->timer, loop, on_pause_end, run);
  run->deadline_us = deadline_us;
  run->cb = cb;
  run->arg = arg;
  return run;
}

void schema_migrate(struct pg_pool *pool, struct loop *loop, int64_t deadline_us, schema_cb *cb,
                    void *arg) {
  struct schema_run *run = schema_run_new(loop, deadline_us, cb, arg);
  run->is_migrating = true;
  pg_acquire(pool, deadline_us, "migrate", on_acquired, run);
}

void schema_check(struct pg_pool *pool, struct loop *loop, int64_t deadline_us, schema_cb *cb,
                  void *arg) {
  struct schema_run *run = schema_run_new(loop, deadline_us, cb, arg);
  pg_acquire(pool, deadline_us, "schema check", on_acquired, run);
}
