/*
 * auditstore info: what the daemon runs with, and what its connections to PostgreSQL do.
 */
#include "fields.h"
#include "json_message.h"
#include "table.h"
#include "text.h"
#include "tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct table_column columns[] = {
    {.title = "SETTING"},
    {.title = "VALUE", .may_shrink = true},
    {.title = "SOURCE", .may_shrink = true},
    {.title = "DEFAULT", .may_shrink = true},
    {.title = "CHANGED BY"},
    {.title = "ALLOWED", .may_shrink = true, .is_optional = true},
};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

/* ---- the pool ---- */

static void print_connections(const Auditstore__V1__PoolSnapshot *pool) {
  printf("%-18s%" PRId32 " (%" PRId32 " in use, %" PRId32 " idle) of %" PRId32, "connections",
         pool->open, pool->in_use, pool->idle, pool->max_open);
  if (pool->effective_max_open < pool->max_open)
    printf(", %" PRId32 " as PostgreSQL has no more", pool->effective_max_open);
  if (pool->connecting)
    printf("; %" PRId32 " being opened", pool->connecting);
  if (pool->closing)
    printf("; %" PRId32 " being closed", pool->closing);
  putchar('\n');
}

/* "5 (max_idle 3, lifetime 2)": the total, and what isn't zero of it. */
static void print_counts(const char *name, Auditstore__V1__Count *const *counts, size_t count) {
  uint64_t total = 0;
  const char *separator = " (";
  for (size_t i = 0; i < count; i++)
    total += (uint64_t)counts[i]->count;
  printf("%-18s%" PRIu64, name, total);
  for (size_t i = 0; i < count; i++) {
    if (counts[i]->count == 0)
      continue;
    fputs(separator, stdout);
    text_print_escaped(stdout, counts[i]->name);
    printf(" %" PRId64, counts[i]->count);
    separator = ", ";
  }
  puts(total ? ")" : "");
}

static void print_pool(const Auditstore__V1__PoolSnapshot *pool) {
  fields_print_text(
      "pool", json_enum_short_name(&auditstore__v1__pool_state__descriptor, (int)pool->state));
  print_connections(pool);
  fields_print_duration("next dial in", pool->next_dial_in);
  fields_print_number("waiting", pool->waiting);
  fields_print_duration("oldest wait", pool->oldest_wait);
  fields_print_duration("oldest in use", pool->oldest_in_use);
  print_counts("acquires", pool->acquires, pool->n_acquires);
  fields_print_number("waits", pool->waits);
  fields_print_duration("wait time", pool->wait_time);
  fields_print_number("opened", pool->opened);
  print_counts("open failures", pool->open_failures, pool->n_open_failures);
  print_counts("closed", pool->closed, pool->n_closed);
}

static void print_postgres(const Auditstore__V1__PostgresLimits *postgres) {
  printf("%-18s%" PRId32 ".%" PRId32 ", max_connections %" PRId32 ", usable %" PRId32 "\n",
         "PostgreSQL", postgres->version / 10000, postgres->version % 10000,
         postgres->max_connections, postgres->usable_connections);
}

/* ---- settings ---- */

static bool print_settings(const Auditstore__V1__GetServerInfoResponse *info) {
  struct table *table = malloc(sizeof(*table));
  if (!table)
    return false;
  bool ok = true;
  table_init(table, columns, COLUMN_COUNT);
  for (size_t i = 0; i < info->n_settings && ok; i++) {
    const Auditstore__V1__Setting *setting = info->settings[i];
    const char *cells[COLUMN_COUNT] = {
        setting->key,
        setting->value,
        setting->source,
        setting->default_value,
        setting->reloadable ? "reload" : "restart",
        setting->allowed,
    };
    ok = table_add(table, cells);
  }
  table_flush(table);
  table_deinit(table);
  free(table);
  return ok;
}

/* ---- all of it ---- */

static int print_info(const Auditstore__V1__GetServerInfoResponse *info) {
  fields_print_text("version", info->version);
  fields_print_time("started at", info->started_at);
  if (info->pool)
    print_pool(info->pool);
  if (info->postgres)
    print_postgres(info->postgres);
  putchar('\n');
  if (print_settings(info))
    return TOOL_OK;
  return tool_no_memory();
}

static int run_info(struct tool *tool, int argc, char **argv) {
  bool is_json = false;
  struct tool_line line = {.take = tool_take_json, .arg = &is_json};
  int code = tool_parse(tool, argc, argv, &line);
  if (code == TOOL_OK)
    code = tool_connect(tool);
  if (code != TOOL_OK)
    return code;
  Auditstore__V1__GetServerInfoRequest request = AUDITSTORE__V1__GET_SERVER_INFO_REQUEST__INIT;
  const struct auditstore_call_options options = {.timeout_ms = tool->timeout_ms};
  Auditstore__V1__GetServerInfoResponse *response = NULL;
  struct auditstore_status status = {0};
  if (auditstore_v1_admin_get_server_info(tool->channel, &request, &response, &options, &status) !=
      AUDITSTORE_OK) {
    code = tool_fail(tool, "get the server's information", &status);
  } else if (is_json) {
    json_message_write(stdout, &response->base, json_reader_of(STDOUT_FILENO));
    putchar('\n');
  } else {
    code = print_info(response);
  }
  if (response)
    auditstore__v1__get_server_info_response__free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
  return code;
}

static const struct cli_option info_options[] = {
    {.name = "json", .help = "as one JSON object on one line", .id = TOOL_OPTION_JSON},
    {0},
};

const struct cli_command info_command = {
    .name = "info",
    .summary = "shows what the daemon runs with",
    .details =
        "Shows each setting of the daemon and where its value comes from, and what its "
        "connections to PostgreSQL do; also while PostgreSQL is away.",
    .options = {info_options},
    .run = run_info,
};
