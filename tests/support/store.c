#include "support/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger/schema.h"

#define PATIENCE_US (30LL * 1000 * 1000)

/* The folder of the sources: ctest says it; a test run by hand finds it from its own name. */
static void write_source_dir(char *text, size_t size) {
  const char *dir = getenv("AUDITSTORE_SOURCE_DIR");
  size_t tail = strlen("/tests/support/store.c");
  if (dir)
    snprintf(text, size, "%s", dir);
  else
    snprintf(text, size, "%.*s", (int)(strlen(__FILE__) - tail), __FILE__);
}

/* Runs tests/support/private_postgres; the value of a line "NAME=value" of its output goes to
 * *ret_number. */
static void run_postgres(struct store *s, const char *verb, const char *more, int *ret_port) {
  char dir[256];
  char command[512];
  char line[256];
  write_source_dir(dir, sizeof(dir));
  snprintf(command, sizeof(command), "%s/tests/support/private_postgres %s %s %s", dir, verb,
           s->dir, more);
  FILE *output = popen(command, "r");
  assert_non_null(output);
  while (fgets(line, sizeof(line), output)) {
    if (ret_port && strncmp(line, "PORT=", 5) == 0)
      *ret_port = (int)strtol(line + 5, NULL, 10);
  }
  assert_int_equal(pclose(output), 0);
}

/* ---- the server ---- */

static void store_connect_admin(struct store *s) {
  char conninfo[256];
  PQfinish(s->admin);
  snprintf(conninfo, sizeof(conninfo), "host=127.0.0.1 port=%d user=auditstore dbname=auditstore",
           s->database.port);
  s->admin = PQconnectdb(conninfo);
  if (PQstatus(s->admin) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(s->admin));
}

static void fill_config(struct store *s) {
  s->database = (struct config_database){
      .host = "127.0.0.1",
      .port = s->database.port,
      .name = "auditstore",
      .user = "auditstore",
      .password_file = "",
      .sslmode = "disable",
      .sslrootcert = "",
      .application_name = "auditstore_test",
      .max_open_conns = 6,
      .max_idle_conns = 4,
      .conn_max_lifetime_us = CLOCK_NEVER,
      .conn_max_idle_time_us = CLOCK_NEVER,
      .max_waiters = 100,
      .max_connecting = 2,
      .acquire_timeout_us = 5000LL * 1000,
      .connect_timeout_us = 3000LL * 1000,
      .connect_backoff_min_us = 10LL * 1000,
      .connect_backoff_max_us = 200LL * 1000,
      .fail_fast_after_us = 200LL * 1000,
      .statement_timeout_us = 10LL * 1000 * 1000,
      .lock_timeout_us = 5LL * 1000 * 1000,
      .query_grace_us = 2LL * 1000 * 1000,
  };
  s->storage = (struct config_storage){.partitions_ahead = 1,
                                       .partition_check_every_us = 3600LL * 1000 * 1000};
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

struct migration_end {
  bool is_done;
  bool is_ok;
};

static void on_migrated(void *arg, int version, const struct error *err) {
  struct migration_end *end = arg;
  (void)version;
  if (err)
    fprintf(stderr, "migration: %s\n", err->text);
  end->is_ok = err == NULL;
  end->is_done = true;
}

static void open_loop(struct store *s) {
  struct error err;
  assert_int_equal(uv_loop_init(&s->uv), 0);
  loop_init(&s->loop, &s->uv, &clock_system);
  if (pg_pool_new(&s->pool, &s->loop, &s->database, &err) < 0)
    fail_msg("%s", err.text);
}

static void close_loop(struct store *s) {
  bool is_drained = false;
  pg_pool_drain(s->pool, clock_monotonic_us(s->loop.clock) + PATIENCE_US, set_flag, &is_drained);
  store_run_until(s, &is_drained);
  pg_pool_free(s->pool);
  loop_deinit(&s->loop);
  uv_run(&s->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&s->uv), 0);
}

void store_start(struct store *s) {
  *s = (struct store){0};
  snprintf(s->dir, sizeof(s->dir), "/tmp/auditstore_test_%d", (int)getpid());
  run_postgres(s, "start", "shared_buffers=32MB max_connections=30", &s->database.port);
  fill_config(s);
  store_connect_admin(s);
  open_loop(s);
  struct migration_end end = {0};
  schema_migrate(s->pool, &s->loop, clock_monotonic_us(s->loop.clock) + PATIENCE_US, on_migrated,
                 &end);
  store_run_until(s, &end.is_done);
  assert_true(end.is_ok);
  close_loop(s);
}

void store_remove(struct store *s) {
  PQfinish(s->admin);
  run_postgres(s, "remove", "", NULL);
}

void store_stop_server(struct store *s, const char *mode) {
  run_postgres(s, "stop", mode, NULL);
}

/* "restart" stops a server only when one runs. */
void store_start_server(struct store *s) {
  run_postgres(s, "restart", "immediate", NULL);
  store_connect_admin(s);
}

/* ---- the parts ---- */

void store_open(struct store *s) {
  PQclear(store_query(s, "TRUNCATE audit_events, ledgers"));
  open_loop(s);
  s->partitions = partitions_new(&s->loop, s->pool, &s->storage);
}

void store_close(struct store *s) {
  bool is_closed = false;
  partitions_close(s->partitions, set_flag, &is_closed);
  store_run_until(s, &is_closed);
  close_loop(s);
}

static void on_tick(uv_timer_t *timer) {
  (void)timer;
}

void store_turn(struct store *s) {
  uv_timer_t tick;
  uv_timer_init(&s->uv, &tick);
  uv_timer_start(&tick, on_tick, 10, 0);
  uv_run(&s->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(&s->uv, UV_RUN_NOWAIT);
}

void store_run_until(struct store *s, const bool *flag) {
  int64_t limit_us = clock_monotonic_us(&clock_system) + PATIENCE_US;
  while (!*flag) {
    store_turn(s);
    if (clock_monotonic_us(&clock_system) > limit_us)
      fail_msg("waited too long");
  }
}

/* ---- questions ---- */

PGresult *store_query(struct store *s, const char *sql) {
  PGresult *result = PQexec(s->admin, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    fail_msg("%s: %s", sql, PQerrorMessage(s->admin));
  return result;
}

int64_t store_number(struct store *s, const char *sql) {
  PGresult *result = store_query(s, sql);
  assert_int_equal(PQntuples(result), 1);
  int64_t number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return number;
}

/* ---- events ---- */

struct event sample_event(int n) {
  struct event event = {
      .time_us = clock_wall_us(&clock_system),
      .duration_us = -1,
      .outcome = 1,
  };
  event.id.bytes[0] = 0x01;
  event.id.bytes[6] = 0x70;
  event.id.bytes[8] = 0x80;
  for (int i = 0; i < 4; i++)
    event.id.bytes[12 + i] = (uint8_t)((uint32_t)n >> (24 - 8 * i));
  event.text[EVENT_TEXT_EVENT_TYPE] = str_z("package.install");
  event.text[EVENT_TEXT_EVENT_CATEGORY] = str_z("package");
  event.text[EVENT_TEXT_EVENT_ACTION] = str_z("install");
  event.text[EVENT_TEXT_ACTOR_ID] = str_z("alice@example.com");
  event.text[EVENT_TEXT_RESOURCE_ID] = str_z("libc6:amd64");
  event.text[EVENT_TEXT_CORRELATION_ID] = str_z("upgrade-42");
  event.text[EVENT_TEXT_EVENT_DATA] = str_z("{\"from\": \"1.2-1\", \"to\":\"1.2-2\"}");
  return event;
}
