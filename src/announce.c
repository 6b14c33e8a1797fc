#include "announce.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Those of announce_pool() besides the settings. */
enum { OTHER_FIELDS = 8 };

/* config_load() and config_reload() write what is no more than that so. */
static bool is_warning(const char *line) {
  return strstr(line, ": warning: ") != NULL;
}

void announce_problems(enum log_level level, const char *event, const char *problems) {
  while (*problems) {
    char line[1024];
    size_t len = strcspn(problems, "\n");
    snprintf(line, sizeof(line), "%.*s", (int)(len < sizeof(line) ? len : sizeof(line)), problems);
    if (is_warning(line))
      log_warn("settings", KV("problem", line));
    else
      LOG_EVENT(level, event, KV("problem", line));
    problems += len + (problems[len] == '\n');
  }
}

/* ---- a section of the settings ---- */

struct announcement {
  struct config_setting *settings; /* owned, as the names are */
  char (*source_names)[64];
  struct log_kv *fields;
  int setting_count;
  int field_count;
};

static void add(struct announcement *line, struct log_kv field) {
  line->fields[line->field_count++] = field;
}

static void collect(struct announcement *line, const struct config *config, const char *section) {
  size_t count = (size_t)config_setting_count();
  line->settings = xcalloc(count, sizeof(*line->settings));
  line->source_names = xcalloc(count, sizeof(*line->source_names));
  line->fields = xcalloc(2 * count + OTHER_FIELDS, sizeof(*line->fields));
  for (int i = 0; i < (int)count; i++) {
    struct config_setting *setting = &line->settings[line->setting_count];
    config_setting(config, i, setting);
    if (strcmp(setting->section, section) == 0)
      line->setting_count++;
  }
}

static void add_settings(struct announcement *line) {
  for (int i = 0; i < line->setting_count; i++) {
    const struct config_setting *setting = &line->settings[i];
    char *name = line->source_names[i];
    snprintf(name, sizeof(line->source_names[i]), "%s_source", setting->name);
    add(line, KV(setting->name, (const char *)setting->value));
    add(line, KV((const char *)name, (const char *)setting->source));
  }
}

static void tell(struct announcement *line, const char *event) {
  log_write(LOG_INFO, event, line->fields, line->field_count);
  free(line->fields);
  free(line->source_names);
  free(line->settings);
}

void announce_queries(const struct config *config) {
  struct announcement line = {0};
  if (!log_enabled(LOG_INFO))
    return;
  collect(&line, config, "query");
  add_settings(&line);
  tell(&line, "queries");
}

/* ---- the pool ---- */

static void add_server(struct announcement *line, const struct pg_pool_stats *stats) {
  int fitting = stats->max_open > 0 ? stats->server.usable / stats->max_open : 0;
  add(line, KV("server_max_connections", stats->server.max_connections));
  add(line, KV("server_usable_connections", stats->server.usable));
  add(line, KV("daemons_that_fit", fitting));
  add(line, KV("memory_bytes", stats->memory_bytes));
  add(line, KV("behind_pooler", stats->session.is_pooled));
  add(line, KV("session", (const char *)stats->session.settings));
}

static void tell_settings(const struct config *config, const struct pg_pool_stats *stats,
                          int schema_version) {
  struct announcement line = {0};
  collect(&line, config, "database");
  add(&line, KV("schema_version", schema_version));
  add_server(&line, stats);
  add_settings(&line);
  tell(&line, "db pool ready");
}

void announce_pool(const struct config *config, const struct pg_pool_stats *stats,
                   int schema_version) {
  if (log_enabled(LOG_INFO))
    tell_settings(config, stats, schema_version);
  if (stats->server.usable > 0 && stats->max_open > stats->server.usable)
    log_warn("database.max_open_conns is above what the server allows",
             KV("max_open_conns", stats->max_open),
             KV("server_usable_connections", stats->server.usable),
             KV("advice", "lower it, or raise the server's max_connections or the role's limit"));
}
