/* From a YAML file and overrides to struct config. */
#include "base/alloc.h"
#include "base/secret.h"
#include "base/settings_file.h"
#include "config/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far more than the texts of all keys. */
#define CONFIG_ARENA_BYTES ((size_t)1024 * 1024)

struct loader {
  struct config *config;
  struct settings_file file;
};

/* ---- one value ---- */

struct setting {
  struct str section, name, value;
  int line; /* 0: from the command line */
};

static bool set_twice(struct loader *l, int index, const struct setting *s) {
  const struct config_origin *origin = &l->config->origins[index];
  if (s->line == 0 || origin->source != CONFIG_FILE)
    return false;
  settings_file_problem(&l->file, s->line, "%s.%s: set twice: first in line %d",
                        config_keys[index].section, config_keys[index].name, origin->line);
  return true;
}

/* Of what may be a connection string, cut at its dots, nothing is repeated. */
static struct str shown_name(struct str name) {
  bool is_part = name.len > 0 && memmem(name.data, name.len, "://", 3);
  return is_part || secret_may_be_in(name) ? str_z(SECRET_NOT_SHOWN) : name;
}

static bool has_section(struct loader *l, struct str section, int line) {
  char text[128];
  if (config_has_section(section))
    return true;
  struct str shown = shown_name(section);
  settings_file_problem(
      &l->file, line, "%.*s: unknown section%s", (int)shown.len, shown.data,
      settings_file_suggestion(config_suggest_section(section), text, sizeof(text)));
  return false;
}

static void apply(struct loader *l, const struct setting *s) {
  if (!has_section(l, s->section, s->line))
    return;
  int index = config_find_key(s->section, s->name);
  char text[128];
  if (index < 0) {
    struct str shown = shown_name(s->name);
    settings_file_problem(
        &l->file, s->line, "%.*s.%.*s: unknown key%s", (int)s->section.len, s->section.data,
        (int)shown.len, shown.data,
        settings_file_suggestion(config_suggest_key(s->section, s->name), text, sizeof(text)));
    return;
  }
  if (set_twice(l, index, s))
    return;
  struct error err = {0};
  int rc = config_set_value(l->config, &config_keys[index], s->value, &err);
  if (rc < 0)
    settings_file_problem(&l->file, s->line, "%s.%s: %s", config_keys[index].section,
                          config_keys[index].name, err.text);
  l->config->origins[index] = (struct config_origin){
      .source = s->line ? CONFIG_FILE : CONFIG_COMMAND_LINE,
      .path = arena_strdup(l->config->arena, str_z(l->file.path)),
      .line = s->line,
      .is_bad = rc < 0,
  };
}

/* ---- YAML ---- */

static void walk_pair(struct loader *l, struct str section, const yaml_node_t *key,
                      const yaml_node_t *value) {
  if (key->type != YAML_SCALAR_NODE) {
    settings_file_problem(&l->file, settings_file_line(key), "%.*s: a key must be a name",
                          (int)section.len, section.data);
    return;
  }
  struct str name = settings_file_text(key);
  if (value->type != YAML_SCALAR_NODE) {
    settings_file_problem(&l->file, settings_file_line(key),
                          "%.*s.%.*s: must be a single value, not a list or mapping",
                          (int)section.len, section.data, (int)name.len, name.data);
    return;
  }
  if (settings_file_is_absent(value) && config_find_key(section, name) >= 0)
    return;
  const struct setting s = {section, name, settings_file_text(value), settings_file_line(key)};
  apply(l, &s);
}

static void walk_section(struct loader *l, yaml_document_t *document, const yaml_node_t *key,
                         const yaml_node_t *body) {
  if (key->type != YAML_SCALAR_NODE) {
    settings_file_problem(&l->file, settings_file_line(key), "a section must be a name");
    return;
  }
  struct str section = settings_file_text(key);
  if (!has_section(l, section, settings_file_line(key)))
    return;
  if (settings_file_is_absent(body))
    return;
  if (body->type != YAML_MAPPING_NODE) {
    settings_file_problem(&l->file, settings_file_line(key),
                          "%.*s: must hold keys, such as \"%.*s:\" followed by indented lines",
                          (int)section.len, section.data, (int)section.len, section.data);
    return;
  }
  for (yaml_node_pair_t *pair = body->data.mapping.pairs.start; pair < body->data.mapping.pairs.top;
       pair++)
    walk_pair(l, section, yaml_document_get_node(document, pair->key),
              yaml_document_get_node(document, pair->value));
}

static bool is_repeated(struct loader *l, yaml_document_t *document, const yaml_node_t *root,
                        const yaml_node_pair_t *pair) {
  const yaml_node_t *key = yaml_document_get_node(document, pair->key);
  const yaml_node_t *earlier = settings_file_earlier(document, root, pair);
  if (earlier)
    settings_file_problem(&l->file, settings_file_line(key),
                          "%.*s: section given twice: first in line %d",
                          (int)key->data.scalar.length, (const char *)key->data.scalar.value,
                          settings_file_line(earlier));
  return earlier != NULL;
}

static void walk_document(void *arg, yaml_document_t *document, const yaml_node_t *root) {
  struct loader *l = arg;
  if (root->type != YAML_MAPPING_NODE) {
    settings_file_problem(&l->file, settings_file_line(root),
                          "must hold sections, such as \"server:\"");
    return;
  }
  for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
       pair++)
    if (!is_repeated(l, document, root, pair))
      walk_section(l, document, yaml_document_get_node(document, pair->key),
                   yaml_document_get_node(document, pair->value));
}

/* A directory can't be read at all, and says so itself. */
static bool can_be_read_again(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
}

/* At the start it may come by a pipe. A reload can't wait for one: the daemon would stand still. */
static FILE *open_file(struct loader *l, bool is_reload) {
  int fd = open(l->file.path, O_RDONLY | O_CLOEXEC | (is_reload ? O_NONBLOCK : 0));
  if (fd < 0) {
    settings_file_problem(&l->file, 0, "%s", strerror(errno));
    return NULL;
  }
  if (is_reload && !can_be_read_again(fd)) {
    settings_file_problem(&l->file, 0,
                          "is no regular file, which alone can be read again: restart to read it");
    close(fd);
    return NULL;
  }
  FILE *file = fdopen(fd, "r");
  if (!file)
    abort();
  return file;
}

static void load_file(struct loader *l, bool is_reload) {
  FILE *file = open_file(l, is_reload);
  if (!file)
    return;
  settings_file_read(&l->file, file, walk_document, l);
  fclose(file);
}

/* ---- overrides ---- */

static void apply_override(struct loader *l, const char *text) {
  const char *dot = strchr(text, '.');
  const char *equal = strchr(text, '=');
  if (!dot || !equal || dot > equal) {
    /* What follows may be a connection string. */
    settings_file_problem(&l->file, 0, "%.*s: must be section.key=value", (int)strcspn(text, "=:@"),
                          text);
    return;
  }
  const struct setting s = {
      .section = str_of(text, (size_t)(dot - text)),
      .name = str_of(dot + 1, (size_t)(equal - dot - 1)),
      .value = str_z(equal + 1),
  };
  apply(l, &s);
}

static void load_defaults(struct config *config) {
  struct error err = {0};
  for (int i = 0; i < config_key_count; i++)
    if (config_set_value(config, &config_keys[i], str_z(config_keys[i].default_text), &err) < 0)
      abort(); /* the table contradicts itself */
}

int config_load_values(struct config *ret_config, const struct config_input *input, bool is_reload,
                       FILE *problems) {
  struct config config = {.arena = xcalloc(1, sizeof(struct arena))};
  arena_init(config.arena, CONFIG_ARENA_BYTES);
  config.origins = xcalloc((size_t)config_key_count, sizeof(*config.origins));
  load_defaults(&config);
  struct loader l = {.config = &config, .file = {.problems = problems, .path = input->path}};
  if (input->path)
    load_file(&l, is_reload);
  l.file.path = "--set";
  for (int i = 0; i < input->override_count; i++)
    apply_override(&l, input->overrides[i]);
  *ret_config = config;
  return l.file.count;
}

int config_load(struct config *ret_config, const struct config_input *input, FILE *problems) {
  struct config config;
  int errors = config_load_values(&config, input, false, problems);
  errors += config_check(&config, problems);
  if (errors == 0)
    errors += config_fit(&config, input->max_descriptors, false, problems);
  if (errors) {
    config_deinit(&config);
    return ERR_INVALID_ARGUMENT;
  }
  *ret_config = config;
  return 0;
}

void config_deinit(struct config *config) {
  free(config->origins);
  if (config->arena)
    arena_deinit(config->arena);
  free(config->arena);
  *config = (struct config){0};
}
