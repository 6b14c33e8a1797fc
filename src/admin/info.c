#include "admin/info.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define NANOS_PER_US 1000

/* Everything but the settings: the messages and counts of the pool. */
#define OTHER_BYTES ((size_t)64 * 1024)

/* "section.key" */
#define KEY_SIZE 128

/* Each setting is copied out of a struct config_setting, which is larger than its message. */
size_t admin_info_arena_bytes(void) {
  return (size_t)config_setting_count() * 2 * sizeof(struct config_setting) + OTHER_BYTES;
}

static void *take(struct arena *arena, size_t count, size_t size) {
  void *memory = arena_calloc(arena, count, size);
  assert(memory);
  return memory;
}

/* ---- texts and times ---- */

static ProtobufCBinaryData constant(const char *text) {
  return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

/* A file's name may be any bytes; a string of protobuf may not. */
static void mend_utf8(char *text, size_t len) {
  size_t at = 0;
  while ((at += utf8_valid_prefix(str_of(text + at, len - at))) < len)
    text[at] = '?';
}

static ProtobufCBinaryData copy(struct arena *arena, const char *text) {
  size_t len = strlen(text);
  char *copied = arena_strdup(arena, str_of(text, len));
  assert(copied);
  mend_utf8(copied, len);
  return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)copied};
}

static Google__Protobuf__Timestamp *timestamp(struct arena *arena, int64_t us) {
  Google__Protobuf__Timestamp *time = take(arena, 1, sizeof(*time));
  google__protobuf__timestamp__init(time);
  time->seconds = us / CLOCK_US_PER_S;
  time->nanos = (int32_t)(us % CLOCK_US_PER_S) * NANOS_PER_US;
  return time;
}

static Google__Protobuf__Duration *duration(struct arena *arena, int64_t us) {
  Google__Protobuf__Duration *time = take(arena, 1, sizeof(*time));
  google__protobuf__duration__init(time);
  time->seconds = us / CLOCK_US_PER_S;
  time->nanos = (int32_t)(us % CLOCK_US_PER_S) * NANOS_PER_US;
  return time;
}

/* Nothing instead of 0. */
static Google__Protobuf__Duration *optional_duration(struct arena *arena, int64_t us) {
  return us ? duration(arena, us) : NULL;
}

/* ---- settings ---- */

static Auditstore__V1__Setting *setting_of(const struct config *config, int index,
                                           struct arena *arena) {
  struct config_setting setting;
  char key[KEY_SIZE];
  config_setting(config, index, &setting);
  snprintf(key, sizeof(key), "%s.%s", setting.section, setting.name);
  Auditstore__V1__Setting *message = take(arena, 1, sizeof(*message));
  auditstore__v1__setting__init(message);
  message->key = copy(arena, key);
  message->value = copy(arena, setting.value);
  message->source = copy(arena, setting.source);
  message->default_value = constant(setting.default_text);
  message->allowed = copy(arena, setting.range);
  message->help = constant(setting.help);
  message->reloadable = setting.is_live;
  return message;
}

static void fill_settings(const struct config *config, struct arena *arena,
                          Auditstore__V1__GetServerInfoResponse *response) {
  int count = config_setting_count();
  response->n_settings = (size_t)count;
  response->settings = take(arena, (size_t)count, sizeof(Auditstore__V1__Setting *));
  for (int i = 0; i < count; i++)
    response->settings[i] = setting_of(config, i, arena);
}

/* ---- the pool ---- */

static Auditstore__V1__PoolState state_of(enum pg_pool_state state) {
  static const Auditstore__V1__PoolState states[PG_POOL_STATE_COUNT] = {
      [PG_POOL_STARTING] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_STARTING,
      [PG_POOL_UP] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_UP,
      [PG_POOL_DEGRADED] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_DEGRADED,
      [PG_POOL_DOWN] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_DOWN,
      [PG_POOL_FROZEN] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_FROZEN,
      [PG_POOL_DRAINING] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_DRAINING,
      [PG_POOL_CLOSED] = AUDITSTORE__V1__POOL_STATE__POOL_STATE_CLOSED,
  };
  return states[state];
}

static Auditstore__V1__Count *count_of(struct arena *arena, const char *name, int64_t number) {
  Auditstore__V1__Count *count = take(arena, 1, sizeof(*count));
  auditstore__v1__count__init(count);
  count->name = constant(name);
  count->count = number;
  return count;
}

static void fill_gauges(const struct pg_pool_stats *stats, struct arena *arena,
                        Auditstore__V1__PoolSnapshot *pool) {
  pool->state = state_of(stats->state);
  pool->max_open = stats->max_open;
  pool->effective_max_open = stats->effective_max_open;
  pool->max_idle = stats->max_idle;
  pool->open = stats->open;
  pool->in_use = stats->in_use;
  pool->idle = stats->idle;
  pool->connecting = stats->connecting;
  pool->closing = stats->closing;
  pool->waiting = stats->waiting;
  pool->oldest_wait = optional_duration(arena, stats->oldest_wait_us);
  pool->oldest_in_use = optional_duration(arena, stats->oldest_in_use_us);
  pool->next_dial_in = optional_duration(arena, stats->backoff_us);
  pool->generation = stats->generation;
  pool->memory_bytes = stats->memory_bytes;
}

static void fill_counters(const struct pg_pool_stats *stats, struct arena *arena,
                          Auditstore__V1__PoolSnapshot *pool) {
  pool->waits = stats->waits;
  pool->wait_time = duration(arena, stats->wait_us);
  pool->opened = stats->opened;
  pool->close_timeouts = stats->close_timeouts;
  pool->pings_ok = stats->pings_ok;
  pool->pings_failed = stats->pings_failed;
}

static void fill_counts(const struct pg_pool_stats *stats, struct arena *arena,
                        Auditstore__V1__PoolSnapshot *pool) {
  pool->n_acquires = PG_ACQUIRE_RESULT_COUNT;
  pool->acquires = take(arena, PG_ACQUIRE_RESULT_COUNT, sizeof(Auditstore__V1__Count *));
  for (int i = 0; i < PG_ACQUIRE_RESULT_COUNT; i++)
    pool->acquires[i] =
        count_of(arena, pg_acquire_result_name((enum pg_acquire_result)i), stats->acquires[i]);
  pool->n_open_failures = PG_DIAL_FAILURE_COUNT;
  pool->open_failures = take(arena, PG_DIAL_FAILURE_COUNT, sizeof(Auditstore__V1__Count *));
  for (int i = 0; i < PG_DIAL_FAILURE_COUNT; i++)
    pool->open_failures[i] =
        count_of(arena, pg_dial_failure_name((enum pg_dial_failure)i), stats->open_failures[i]);
  pool->n_closed = PG_CLOSE_REASON_COUNT;
  pool->closed = take(arena, PG_CLOSE_REASON_COUNT, sizeof(Auditstore__V1__Count *));
  for (int i = 0; i < PG_CLOSE_REASON_COUNT; i++)
    pool->closed[i] =
        count_of(arena, pg_close_reason_name((enum pg_close_reason)i), stats->closed[i]);
}

static Auditstore__V1__PoolSnapshot *pool_of(const struct pg_pool_stats *stats,
                                             struct arena *arena) {
  Auditstore__V1__PoolSnapshot *pool = take(arena, 1, sizeof(*pool));
  auditstore__v1__pool_snapshot__init(pool);
  fill_gauges(stats, arena, pool);
  fill_counters(stats, arena, pool);
  fill_counts(stats, arena, pool);
  return pool;
}

/* Nothing until the server was asked. */
static Auditstore__V1__PostgresLimits *limits_of(const struct pg_server_limits *limits,
                                                 struct arena *arena) {
  if (limits->max_connections == 0)
    return NULL;
  Auditstore__V1__PostgresLimits *message = take(arena, 1, sizeof(*message));
  auditstore__v1__postgres_limits__init(message);
  message->version = limits->version;
  message->max_connections = limits->max_connections;
  message->usable_connections = limits->usable;
  return message;
}

/* ---- all of it ---- */

void admin_info_fill(const struct admin_info_input *input, struct arena *arena,
                     Auditstore__V1__GetServerInfoResponse *ret_response) {
  auditstore__v1__get_server_info_response__init(ret_response);
  ret_response->version = constant(input->version);
  ret_response->started_at = timestamp(arena, input->started_us);
  fill_settings(input->config, arena, ret_response);
  ret_response->pool = pool_of(input->stats, arena);
  ret_response->postgres = limits_of(&input->stats->server, arena);
}
