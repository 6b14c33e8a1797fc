/* The settings once more, while the daemon runs. */
#include "config/table.h"

#include <stdlib.h>
#include <string.h>

static const char *copy_text(struct config *config, const char *text) {
  return text ? arena_strdup(config->arena, str_z(text)) : NULL;
}

static void warn_pending(const struct config *fresh, const struct config *config, int index,
                         FILE *problems) {
  const struct config_key *key = &config_keys[index];
  const struct config_origin *origin = &fresh->origins[index];
  char value[CONFIG_VALUE_SIZE];
  config_format_value(config, key, value);
  if (origin->source == CONFIG_FILE)
    fprintf(problems, "%s:%d: ", origin->path, origin->line);
  fprintf(problems, "%s.%s: warning: takes effect with a restart; until then it is \"%s\"\n",
          key->section, key->name, value);
}

/* What holds needs a restart to be changed: it goes on holding. */
static void keep_value(struct config *fresh, const struct config *config, int index) {
  const struct config_key *key = &config_keys[index];
  struct config_origin *origin = &fresh->origins[index];
  char value[CONFIG_VALUE_SIZE];
  struct error err;
  config_format_value(config, key, value);
  if (config_set_value(fresh, key, str_z(value), &err) < 0)
    abort(); /* it was accepted before */
  *origin = config->origins[index];
  origin->path = copy_text(fresh, origin->path);
  origin->clamped_from = copy_text(fresh, origin->clamped_from);
}

static bool is_same(const struct config *a, const struct config *b, int index) {
  char left[CONFIG_VALUE_SIZE];
  char right[CONFIG_VALUE_SIZE];
  config_format_value(a, &config_keys[index], left);
  config_format_value(b, &config_keys[index], right);
  return strcmp(left, right) == 0;
}

/* What holds is what a rule made of the same wish. */
static bool is_same_wish(const struct config *fresh, const struct config *config, int index) {
  char wish[CONFIG_VALUE_SIZE];
  const char *clamped_from = config->origins[index].clamped_from;
  config_format_value(fresh, &config_keys[index], wish);
  return clamped_from && strcmp(clamped_from, wish) == 0;
}

static int keep_pending(struct config *fresh, const struct config *config, FILE *problems) {
  int pending = 0;
  for (int i = 0; i < config_key_count; i++) {
    if (config_keys[i].is_live || fresh->origins[i].is_bad || is_same(fresh, config, i))
      continue;
    if (!is_same_wish(fresh, config, i)) {
      warn_pending(fresh, config, i, problems);
      pending++;
    }
    keep_value(fresh, config, i);
  }
  return pending;
}

static void note_changes(struct config *fresh, const struct config *config,
                         struct config_changes *changes) {
  for (int i = 0; i < config_key_count; i++) {
    bool is_changed = !is_same(fresh, config, i);
    fresh->origins[i].is_reloaded = is_changed || config->origins[i].is_reloaded;
    if (!is_changed)
      continue;
    changes->changed++;
    changes->is_database_changed |= strcmp(config_keys[i].section, "database") == 0;
  }
}

static int ask(config_accept_cb *accept, const struct config *fresh, FILE *problems) {
  struct error err;
  if (!accept || accept(fresh, &err) == 0)
    return 0;
  fprintf(problems, "%s\n", err.text);
  return 1;
}

int config_reload(struct config *config, const struct config_input *input, config_accept_cb *accept,
                  FILE *problems, struct config_changes *ret_changes) {
  struct config fresh;
  int errors = config_load_values(&fresh, input, true, problems);
  struct config_changes changes = {.pending = keep_pending(&fresh, config, problems)};
  /* What is kept must fit what is new. */
  errors += config_check(&fresh, problems);
  if (errors == 0)
    errors += config_fit(&fresh, input->max_descriptors, true, problems);
  if (errors || ask(accept, &fresh, problems)) {
    config_deinit(&fresh);
    return ERR_INVALID_ARGUMENT;
  }
  note_changes(&fresh, config, &changes);
  struct config old = *config;
  *config = fresh;
  config_deinit(&old);
  *ret_changes = changes;
  return 0;
}
