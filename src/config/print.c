/* What the table says of itself: effective values, the example file, the reference. */
#include "base/roff.h"
#include "config/table.h"

#include <stdarg.h>
#include <string.h>

/* Appends; what doesn't fit is cut. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size,
                                                         const char *format, ...) {
  size_t len = strlen(text);
  va_list args;
  va_start(args, format);
  vsnprintf(text + len, size - len, format, args);
  va_end(args);
}

static void format_source(const struct config_origin *origin, char ret_text[CONFIG_SOURCE_SIZE]) {
  ret_text[0] = '\0';
  if (origin->clamped_from)
    append(ret_text, CONFIG_SOURCE_SIZE, "clamped from %s, ", origin->clamped_from);
  if (origin->is_reloaded)
    append(ret_text, CONFIG_SOURCE_SIZE, "reload ");
  if (origin->source == CONFIG_FILE)
    append(ret_text, CONFIG_SOURCE_SIZE, "%s:%d", origin->path, origin->line);
  else
    append(ret_text, CONFIG_SOURCE_SIZE, "%s",
           origin->source == CONFIG_COMMAND_LINE ? "command line" : "default");
}

int config_setting_count(void) {
  return config_key_count;
}

void config_setting(const struct config *config, int index, struct config_setting *ret_setting) {
  const struct config_key *key = &config_keys[index];
  ret_setting->section = key->section;
  ret_setting->name = key->name;
  ret_setting->default_text = key->default_text;
  ret_setting->help = key->help;
  ret_setting->is_live = key->is_live;
  config_format_value(config, key, ret_setting->value);
  format_source(&config->origins[index], ret_setting->source);
  config_format_range(key, ret_setting->range);
}

void config_print(const struct config *config, FILE *out) {
  struct config_setting setting;
  for (int i = 0; i < config_key_count; i++) {
    config_setting(config, i, &setting);
    fprintf(out, "%s.%s = %s  # %s\n", setting.section, setting.name, setting.value,
            setting.source);
  }
}

static bool starts_section(int index) {
  return index == 0 || strcmp(config_keys[index].section, config_keys[index - 1].section) != 0;
}

/* Empty texts need quotes to be texts at all. */
static const char *yaml_quote(const struct config_key *key) {
  return key->default_text[0] ? "" : "\"\"";
}

/* Calls `put_section` at the first key of each section, `put_key` at each key. */
struct printer {
  void (*put_section)(const char *section, FILE *out);
  void (*put_key)(const struct config_key *key, const char *range, FILE *out);
};

static void print_all(const struct printer *printer, FILE *out) {
  char range[CONFIG_RANGE_SIZE];
  for (int i = 0; i < config_key_count; i++) {
    config_format_range(&config_keys[i], range);
    if (starts_section(i))
      printer->put_section(config_keys[i].section, out);
    printer->put_key(&config_keys[i], range, out);
  }
}

/* ---- the example ---- */

static void put_example_section(const char *section, FILE *out) {
  fprintf(out, "\n%s:\n", section);
}

static void put_example_key(const struct config_key *key, const char *range, FILE *out) {
  fprintf(out, "  # %s\n", key->help);
  if (key->kind < CONFIG_TEXT)
    fprintf(out, "  # %s.\n", range);
  fprintf(out, "  %s: %s%s\n", key->name, key->default_text, yaml_quote(key));
}

void config_print_example(FILE *out) {
  static const struct printer example = {put_example_section, put_example_key};
  fputs(
      "# Every setting of auditstored with its default. `auditstored --check-config --config "
      "FILE`\n"
      "# checks a file, `--print-config` shows what is in effect and why.\n",
      out);
  print_all(&example, out);
}

/* ---- the manual page ---- */

static void put_manual_section(const char *section, FILE *out) {
  roff_subsection(out, section);
}

static void put_manual_key(const struct config_key *key, const char *range, FILE *out) {
  char text[2 * CONFIG_RANGE_SIZE];
  snprintf(text, sizeof(text), "Default: %s%s. Allowed: %s. %s", key->default_text, yaml_quote(key),
           range, key->is_live ? "A reload changes it." : "A change needs a restart.");
  roff_item(out);
  roff_words(out, key->name, NULL);
  roff_text(out, key->help);
  roff_text(out, text);
}

void config_print_manual(FILE *out) {
  static const struct printer manual = {put_manual_section, put_manual_key};
  roff_section(out, "DESCRIPTION");
  roff_paragraphs(
      out,
      "The settings of auditstored(8) are a YAML file of sections with keys:\n\n"
      "    server:\n"
      "      listen: 127.0.0.1:7443\n"
      "    database:\n"
      "      host: db.example.com\n\n"
      "Durations are numbers with units (250ms, 10s, 5m, 1h30m), sizes have KiB, MiB or GiB. "
      "Absent and 0 mean the default; `off` disables where it is allowed. Each key may also be "
      "written in camelCase. Unknown or repeated keys are errors. On the command line, `--set "
      "section.key=value` overrides the file. `auditstored --print-config` shows what holds, and "
      "where it comes from.");
  roff_section(out, "SETTINGS");
  print_all(&manual, out);
}

/* ---- the reference ---- */

static void put_reference_section(const char *section, FILE *out) {
  fprintf(out, "\n## %s\n\n| key | default | allowed | reload | meaning |\n|---|---|---|---|---|\n",
          section);
}

static void put_reference_key(const struct config_key *key, const char *range, FILE *out) {
  fprintf(out, "| `%s` | `%s%s` | %s | %s | %s |\n", key->name, key->default_text, yaml_quote(key),
          range, key->is_live ? "yes" : "restart", key->help);
}

void config_print_reference(FILE *out) {
  static const struct printer reference = {put_reference_section, put_reference_key};
  fputs(
      "# Settings\n\n"
      "Made by `auditstored --print-config-reference`; a test keeps it current.\n\n"
      "Durations are numbers with units (`250ms`, `10s`, `5m`, `1h30m`), sizes have `KiB`, `MiB`\n"
      "or `GiB`. Absent and `0` mean the default; `off` disables where it is allowed. Each key "
      "may\n"
      "also be written in camelCase. Unknown or repeated keys are errors. On the command line,\n"
      "`--set section.key=value` overrides the file.\n\n"
      "The column \"reload\" says what SIGHUP changes while the daemon runs; the rest needs a "
      "restart.\n\n"
      "`--print-config`, the log and `auditstore info` show where each value comes from:\n"
      "`FILE:LINE`, `command line` or `default`. When SIGHUP changed it, `reload ` stands before "
      "that.\n"
      "When a rule lowered what was asked for, it begins with what that was: `clamped from 9, "
      "FILE:LINE`.\n",
      out);
  print_all(&reference, out);
}
