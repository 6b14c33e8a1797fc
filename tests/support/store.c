#include "support/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/schema.h"

#define PATIENCE_US (30LL * 1000 * 1000)

/* ---- the server ---- */

static void store_connect_admin(struct store *s) {
  PQfinish(s->admin);
  s->admin = pg_observer_open(&s->server);
}

/* Small limits and short pauses, so that tests reach them. */
static void fill_config(struct store *s) {
  s->database = pg_server_config(&s->server, "auditstore_test");
  s->database.max_open_conns = 6;
  s->database.max_idle_conns = 4;
  s->database.conn_max_lifetime_us = CLOCK_NEVER;
  s->database.conn_max_idle_time_us = CLOCK_NEVER;
  s->database.max_waiters = 100;
  s->database.connect_timeout_us = 3 * CLOCK_US_PER_S;
  s->database.connect_backoff_min_us = 10 * CLOCK_US_PER_MS;
  s->database.connect_backoff_max_us = 200 * CLOCK_US_PER_MS;
  s->database.fail_fast_after_us = 200 * CLOCK_US_PER_MS;
  s->database.statement_timeout_us = 10 * CLOCK_US_PER_S;
  s->database.lock_timeout_us = 5 * CLOCK_US_PER_S;
  s->storage = (struct config_storage){.max_partitions = 1000,
                                       .partitions_ahead = 1,
                                       .partition_check_every_us = 3600 * CLOCK_US_PER_S};
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
  const char *settings[] = {"shared_buffers=32MB", "max_connections=30", NULL};
  pg_server_start(&s->server, settings);
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
  pg_server_remove(&s->server);
}

void store_stop_server(struct store *s, const char *mode) {
  pg_server_stop(&s->server, mode);
}

/* "restart" stops a server only when one runs. */
void store_start_server(struct store *s) {
  pg_server_restart(&s->server, "immediate");
  store_connect_admin(s);
}

/* ---- the parts ---- */

void store_open(struct store *s) {
  PQclear(store_query(s,
                      "TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes;"
                      " UPDATE store SET epoch = 0, next_ledger_id = 1"));
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
  /* Otherwise one that is due already doesn't end the wait: it runs before it. */
  uv_update_time(&s->uv);
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

void store_sql(struct store *s, const char *sql) {
  PQclear(store_query(s, sql));
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
