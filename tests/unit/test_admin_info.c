#include "admin/info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/clock.h"

struct world {
  struct config config;
  struct pg_pool_stats stats;
  struct arena arena;
  Auditstore__V1__GetServerInfoResponse info;
};

static void fill(struct world *w) {
  const struct admin_info_input input = {
      .version = "1.2.3", .started_us = 1700000000000123, .config = &w->config, .stats = &w->stats};
  arena_deinit(&w->arena);
  arena_init(&w->arena, admin_info_arena_bytes());
  admin_info_fill(&input, &w->arena, &w->info);
}

static int start(void **state) {
  static struct world world;
  const struct config_input input = {0};
  FILE *out = fopen("/dev/null", "w");
  world = (struct world){0};
  assert_int_equal(config_load(&world.config, &input, out), 0);
  fclose(out);
  *state = &world;
  return 0;
}

static int end(void **state) {
  struct world *w = *state;
  arena_deinit(&w->arena);
  config_deinit(&w->config);
  return 0;
}

static void assert_text(ProtobufCBinaryData text, const char *expected) {
  assert_int_equal(text.len, strlen(expected));
  assert_memory_equal(text.data, expected, text.len);
}

static void assert_duration(const Google__Protobuf__Duration *time, int64_t us) {
  assert_non_null(time);
  assert_int_equal(time->seconds, us / CLOCK_US_PER_S);
  assert_int_equal(time->nanos, us % CLOCK_US_PER_S * 1000);
}

static void the_daemon_and_its_start_are_told(void **state) {
  struct world *w = *state;
  fill(w);
  assert_text(w->info.version, "1.2.3");
  assert_int_equal(w->info.started_at->seconds, 1700000000);
  assert_int_equal(w->info.started_at->nanos, 123000);
}

static void each_state_has_its_name(void **state) {
  struct world *w = *state;
  for (int i = 0; i < PG_POOL_STATE_COUNT; i++) {
    char expected[64];
    w->stats.state = (enum pg_pool_state)i;
    fill(w);
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &auditstore__v1__pool_state__descriptor, (int)w->info.pool->state);
    snprintf(expected, sizeof(expected), "POOL_STATE_%s", pg_pool_state_name(w->stats.state));
    assert_int_equal(strcasecmp(value->name, expected), 0);
  }
}

static void each_gauge_is_told_in_its_place(void **state) {
  struct world *w = *state;
  w->stats.max_open = 1;
  w->stats.effective_max_open = 2;
  w->stats.max_idle = 3;
  w->stats.open = 4;
  w->stats.in_use = 5;
  w->stats.idle = 6;
  w->stats.connecting = 7;
  w->stats.closing = 8;
  w->stats.waiting = 9;
  w->stats.generation = 10;
  w->stats.memory_bytes = 1LL << 40;
  fill(w);
  const Auditstore__V1__PoolSnapshot *pool = w->info.pool;
  const int numbers[] = {
      pool->max_open, pool->effective_max_open, pool->max_idle, pool->open,    pool->in_use,
      pool->idle,     pool->connecting,         pool->closing,  pool->waiting, pool->generation};
  for (int i = 0; i < (int)(sizeof(numbers) / sizeof(numbers[0])); i++)
    assert_int_equal(numbers[i], i + 1);
  assert_int_equal(pool->memory_bytes, 1LL << 40);
}

static void times_that_are_nothing_are_absent(void **state) {
  struct world *w = *state;
  fill(w);
  assert_null(w->info.pool->oldest_wait);
  assert_null(w->info.pool->oldest_in_use);
  assert_null(w->info.pool->next_dial_in);
  assert_duration(w->info.pool->wait_time, 0);
  w->stats.oldest_wait_us = 1500001;
  w->stats.oldest_in_use_us = 1;
  w->stats.backoff_us = 10000000;
  w->stats.wait_us = 86400000001;
  fill(w);
  assert_duration(w->info.pool->oldest_wait, 1500001);
  assert_duration(w->info.pool->oldest_in_use, 1);
  assert_duration(w->info.pool->next_dial_in, 10000000);
  assert_duration(w->info.pool->wait_time, 86400000001);
}

static void assert_count(const Auditstore__V1__Count *count, const char *name, int64_t number) {
  assert_text(count->name, name);
  assert_int_equal(count->count, number);
}

static void each_counter_is_told_by_its_name(void **state) {
  struct world *w = *state;
  for (int i = 0; i < PG_ACQUIRE_RESULT_COUNT; i++)
    w->stats.acquires[i] = 100 + i;
  for (int i = 0; i < PG_DIAL_FAILURE_COUNT; i++)
    w->stats.open_failures[i] = 200 + i;
  for (int i = 0; i < PG_CLOSE_REASON_COUNT; i++)
    w->stats.closed[i] = 300 + i;
  w->stats.waits = 1;
  w->stats.opened = 2;
  w->stats.close_timeouts = 3;
  w->stats.pings_ok = 4;
  w->stats.pings_failed = 5;
  fill(w);
  const Auditstore__V1__PoolSnapshot *pool = w->info.pool;
  assert_int_equal(pool->n_acquires, PG_ACQUIRE_RESULT_COUNT);
  assert_int_equal(pool->n_open_failures, PG_DIAL_FAILURE_COUNT);
  assert_int_equal(pool->n_closed, PG_CLOSE_REASON_COUNT);
  assert_count(pool->acquires[PG_ACQUIRE_QUEUE_FULL], "queue_full", 100 + PG_ACQUIRE_QUEUE_FULL);
  assert_count(pool->open_failures[PG_DIAL_TLS], "tls", 200 + PG_DIAL_TLS);
  assert_count(pool->closed[PG_CLOSE_LIFETIME], "lifetime", 300 + PG_CLOSE_LIFETIME);
  assert_int_equal(pool->waits, 1);
  assert_int_equal(pool->opened, 2);
  assert_int_equal(pool->close_timeouts, 3);
  assert_int_equal(pool->pings_ok, 4);
  assert_int_equal(pool->pings_failed, 5);
}

static void the_servers_limits_are_told_once_known(void **state) {
  struct world *w = *state;
  fill(w);
  assert_null(w->info.postgres);
  w->stats.server =
      (struct pg_server_limits){.version = 150018, .max_connections = 100, .usable = 97};
  fill(w);
  assert_int_equal(w->info.postgres->version, 150018);
  assert_int_equal(w->info.postgres->max_connections, 100);
  assert_int_equal(w->info.postgres->usable_connections, 97);
}

/* As many bytes as the settings allow: the arena has room for them. */
static void the_longest_texts_fit(void **state) {
  static const char *const keys[] = {"server.port_file",     "http.port_file",
                                     "database.sslrootcert", "database.password_file",
                                     "database.sslcert",     "database.sslkey"};
  enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };
  static char texts[KEY_COUNT][4200];
  const char *overrides[KEY_COUNT];
  struct world *w = *state;
  for (int i = 0; i < KEY_COUNT; i++) {
    int at = snprintf(texts[i], sizeof(texts[i]), "%s=", keys[i]);
    memset(texts[i] + at, 'x', 4095);
    overrides[i] = texts[i];
  }
  const struct config_input input = {.overrides = overrides, .override_count = KEY_COUNT};
  config_deinit(&w->config);
  assert_int_equal(config_load(&w->config, &input, stderr), 0);
  fill(w);
  int long_values = 0;
  for (size_t i = 0; i < w->info.n_settings; i++)
    long_values += w->info.settings[i]->value.len == 4095;
  assert_int_equal(long_values, KEY_COUNT);
}

/* A reload frees the texts it replaces: the answer has its own. */
static void an_answer_outlives_the_settings_it_tells(void **state) {
  struct world *w = *state;
  const struct config_input input = {0};
  fill(w);
  config_deinit(&w->config);
  assert_int_equal(w->info.n_settings, config_setting_count());
  assert_text(w->info.settings[1]->key, "server.listen");
  assert_text(w->info.settings[1]->value, "127.0.0.1:7443");
  assert_text(w->info.settings[1]->source, "default");
  assert_int_equal(config_load(&w->config, &input, stderr), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
  const struct CMUnitTest tests[] = {
      TEST(the_daemon_and_its_start_are_told),
      TEST(each_state_has_its_name),
      TEST(each_gauge_is_told_in_its_place),
      TEST(times_that_are_nothing_are_absent),
      TEST(each_counter_is_told_by_its_name),
      TEST(the_servers_limits_are_told_once_known),
      TEST(the_longest_texts_fit),
      TEST(an_answer_outlives_the_settings_it_tells),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
