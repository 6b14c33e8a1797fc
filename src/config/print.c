/* What the table says of itself: effective values, the example file, the reference. */
#include "config/table.h"

#include <assert.h>
#include <string.h>

static void put_source(const struct config_origin *origin, FILE *out) {
  switch (origin->source) {
  case CONFIG_DEFAULT:
    fputs("default", out);
    break;
  case CONFIG_FILE:
    fprintf(out, "%s:%d", origin->path, origin->line);
    break;
  case CONFIG_COMMAND_LINE:
    fputs("command line", out);
    break;
  case CONFIG_CLAMPED:
    fputs("clamped", out);
    break;
  }
}

void config_print(const struct config *config, FILE *out) {
  char value[CONFIG_VALUE_TEXT_SIZE];
  for (int i = 0; i < config_key_count; i++) {
    config_format_value(config, &config_keys[i], value);
    fprintf(out, "%s.%s = %s  # ", config_keys[i].section, config_keys[i].name, value);
    put_source(&config->origins[i], out);
    fputc('\n', out);
  }
}

void config_text(const struct config *config, const char *section, const char *name,
                 char ret_text[CONFIG_TEXT_SIZE]) {
  char value[CONFIG_VALUE_TEXT_SIZE];
  int index = config_find_key(str_z(section), str_z(name));
  assert(index >= 0);
  config_format_value(config, &config_keys[index], value);
  size_t len = strnlen(value, CONFIG_TEXT_SIZE - 1);
  memcpy(ret_text, value, len);
  ret_text[len] = '\0';
}

static bool starts_section(int index) {
  return index == 0 || strcmp(config_keys[index].section, config_keys[index - 1].section) != 0;
}

/* Empty texts need quotes to be texts at all. */
static const char *yaml_quote(const struct config_key *key) {
  return key->default_text[0] ? "" : "\"\"";
}

void config_print_example(FILE *out) {
  fputs(
      "# Every setting of auditstored with its default. `auditstored --check-config --config "
      "FILE`\n"
      "# checks a file, `--print-config` shows what is in effect and why.\n",
      out);
  for (int i = 0; i < config_key_count; i++) {
    const struct config_key *key = &config_keys[i];
    char range[128];
    config_format_range(key, range, sizeof(range));
    if (starts_section(i))
      fprintf(out, "\n%s:\n", key->section);
    fprintf(out, "  # %s\n", key->help);
    if (key->kind < CONFIG_TEXT)
      fprintf(out, "  # %s.\n", range);
    fprintf(out, "  %s: %s%s\n", key->name, key->default_text, yaml_quote(key));
  }
}

void config_print_reference(FILE *out) {
  fputs(
      "# Settings\n\n"
      "Made by `auditstored --print-config-reference`; a test keeps it current.\n\n"
      "Durations are numbers with units (`250ms`, `10s`, `5m`, `1h30m`), sizes have `KiB`, `MiB`\n"
      "or `GiB`. Absent and `0` mean the default; `off` disables where it is allowed. Each key "
      "may\n"
      "also be written in camelCase. Unknown or repeated keys are errors. On the command line,\n"
      "`--set section.key=value` overrides the file.\n",
      out);
  for (int i = 0; i < config_key_count; i++) {
    const struct config_key *key = &config_keys[i];
    char range[128];
    config_format_range(key, range, sizeof(range));
    if (starts_section(i))
      fprintf(out, "\n## %s\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n",
              key->section);
    fprintf(out, "| `%s` | `%s%s` | %s | %s |\n", key->name, key->default_text, yaml_quote(key),
            range, key->help);
  }
}
