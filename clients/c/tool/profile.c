/*
 * auditstore profile: which profiles there are, and what holds for this call.
 */
#include "table.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_NAMES = 1 };

static const struct cli_option profile_options[] = {
    {.name = "names", .help = "with list: only the names, one on a line", .id = OPTION_NAMES},
    {0},
};

static int take_option(void *arg, const struct cli_option *option, char *value) {
  (void)option;
  (void)value;
  *(bool *)arg = true;
  return TOOL_OK;
}

/* ---- list ---- */

static const struct table_column list_columns[] = {
    {.title = "NAME"},
    {.title = "SERVER", .may_shrink = true},
    {.title = "SHOWS"},
    {.title = "IS"},
};

/* What tells the server who calls. */
static const char *identity_of(const struct profile *profile) {
  if (profile->values[SETTING_TOKEN])
    return profile->values[SETTING_CERT] ? "token, certificate" : "token";
  return profile->values[SETTING_CERT] ? "certificate" : "-";
}

static bool add_profile(struct table *table, const struct profiles *profiles,
                        const struct profile *profile) {
  const char *server = profile->values[SETTING_SERVER];
  bool is_default = profiles->default_name && strcmp(profiles->default_name, profile->name) == 0;
  const char *cells[] = {profile->name, server ? server : setting_rows[SETTING_SERVER].default_text,
                         identity_of(profile), is_default ? "default" : ""};
  return table_add(table, cells);
}

static int print_profiles(const struct profiles *profiles) {
  struct table *table = malloc(sizeof(*table));
  bool ok = table != NULL;
  if (!table)
    return tool_no_memory();
  table_init(table, list_columns, sizeof(list_columns) / sizeof(list_columns[0]));
  for (size_t i = 0; i < profiles->count && ok; i++)
    ok = add_profile(table, profiles, &profiles->items[i]);
  table_flush(table);
  table_deinit(table);
  free(table);
  return ok ? TOOL_OK : tool_no_memory();
}

static int list_profiles(struct tool *tool, bool names_only) {
  struct settings *settings = &tool->settings;
  const struct profiles *profiles = &settings->profiles;
  if (settings_load_profiles(settings, stderr))
    return TOOL_USAGE;
  for (size_t i = 0; names_only && i < profiles->count; i++)
    puts(profiles->items[i].name);
  if (names_only)
    return TOOL_OK;
  if (profiles->count)
    return print_profiles(profiles);
  const char *path = settings->config_path.text;
  fprintf(stderr, "no profiles in %s\n", path ? path : "~/.config/auditstore/config.yaml");
  return TOOL_OK;
}

/* ---- show ---- */

static const struct table_column show_columns[] = {
    {.title = "SETTING"},
    {.title = "VALUE", .may_shrink = true},
    {.title = "SOURCE", .may_shrink = true},
};

static const char *value_of(const struct settings *settings, int id) {
  if (id == SETTING_TLS)
    return settings->uses_tls ? "true" : "false";
  const char *text = settings->values[id].text;
  return text ? text : "-";
}

static const char *source_of(const struct settings *settings, const struct setting_value *value,
                             char text[SETTINGS_ORIGIN_SIZE]) {
  if (value == &settings->values[SETTING_TLS] && settings->tls_reason[0])
    return settings->tls_reason;
  settings_origin(settings, value, text);
  return text;
}

static void put_left_aside(const struct settings *settings, char ret_text[SETTINGS_ORIGIN_SIZE]) {
  const struct setting_value *name = &settings->profile_name;
  char server[SETTINGS_ORIGIN_SIZE];
  settings_origin(settings, &settings->values[SETTING_SERVER], server);
  if (name->text)
    snprintf(ret_text, SETTINGS_ORIGIN_SIZE, "%.64s names the server, so %s (%s) doesn't hold",
             server, name->by, name->text);
  else
    snprintf(ret_text, SETTINGS_ORIGIN_SIZE, "%.64s names the server, so no default profile holds",
             server);
}

static bool add_profile_name(struct table *table, const struct settings *settings) {
  char origin[SETTINGS_ORIGIN_SIZE];
  if (settings->left_profile_aside)
    put_left_aside(settings, origin);
  else
    settings_origin(settings, &settings->profile_name, origin);
  const char *cells[] = {"profile", settings->profile ? settings->profile->name : "-", origin};
  return table_add(table, cells);
}

static bool add_setting(struct table *table, const struct settings *settings, int id) {
  char text[SETTINGS_ORIGIN_SIZE];
  const char *cells[] = {setting_rows[id].key, value_of(settings, id),
                         source_of(settings, &settings->values[id], text)};
  return table_add(table, cells);
}

static int show_settings(struct tool *tool) {
  struct settings *settings = &tool->settings;
  int code = settings_resolve(settings);
  struct table *table = code == TOOL_OK ? malloc(sizeof(*table)) : NULL;
  if (!table)
    return code == TOOL_OK ? tool_no_memory() : code;
  table_init(table, show_columns, sizeof(show_columns) / sizeof(show_columns[0]));
  bool ok = add_profile_name(table, settings);
  for (int id = 0; id < SETTING_COUNT && ok; id++)
    ok = add_setting(table, settings, id);
  table_flush(table);
  table_deinit(table);
  free(table);
  return ok ? TOOL_OK : tool_no_memory();
}

static int run_profile(struct tool *tool, int argc, char **argv) {
  bool names_only = false;
  struct tool_line line = {.take = take_option, .arg = &names_only};
  int code = tool_parse(tool, argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  bool is_list = strcmp(line.arguments[0], "list") == 0;
  if (!is_list && strcmp(line.arguments[0], "show") != 0)
    return tool_usage("profile %s: must be list or show", line.arguments[0]);
  if (!is_list && names_only)
    return tool_usage("profile show: --names goes with list");
  code = is_list ? list_profiles(tool, names_only) : show_settings(tool);
  return code;
}

const struct cli_command profile_command = {
    .name = "profile",
    .arguments = "list|show",
    .min_arguments = 1,
    .max_arguments = 1,
    .completes = CLI_WORDS,
    .words = "list show",
    .summary = "lists profiles, or shows the settings that hold",
    .details =
        "`list` lists the profiles of the settings file. `show` shows each setting that a "
        "call with the same options, environment and settings file would have, and where "
        "it comes from. What is in the files of tokens and keys is never shown.",
    .options = {profile_options},
    .run = run_profile,
};
