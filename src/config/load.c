/* From a YAML file and overrides to struct config. */
#include "base/alloc.h"
#include "config/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Far more than the texts of all keys. */
#define CONFIG_ARENA_BYTES ((size_t)1024 * 1024)

struct loader {
  struct config *config;
  FILE *problems;
  const char *path;
  int errors;
};

/* ---- problems ---- */

/* Names and values are quoted from the file: none may begin a line of its own or steer a terminal.
 */
static void flatten(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      *text = '?';
}

static void put_problem(struct loader *l, int line, char *text) {
  flatten(text);
  if (line)
    fprintf(l->problems, "%s:%d: %s\n", l->path, line, text);
  else
    fprintf(l->problems, "%s: %s\n", l->path, text);
  l->errors++;
}

__attribute__((format(printf, 3, 4))) static void problem(struct loader *l, int line,
                                                          const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  put_problem(l, line, text);
}

/* " (did you mean X?)" or nothing. */
static const char *suggestion(const char *name, char *text, size_t size) {
  text[0] = '\0';
  if (name)
    snprintf(text, size, " (did you mean %s?)", name);
  return text;
}

/* ---- one value ---- */

struct setting {
  struct str section, name, value;
  int line; /* 0: from the command line */
};

static bool set_twice(struct loader *l, int index, const struct setting *s) {
  const struct config_origin *origin = &l->config->origins[index];
  if (s->line == 0 || origin->source != CONFIG_FILE)
    return false;
  problem(l, s->line, "%s.%s: set twice: first in line %d", config_keys[index].section,
          config_keys[index].name, origin->line);
  return true;
}

static bool has_section(struct loader *l, struct str section, int line) {
  char text[128];
  if (config_has_section(section))
    return true;
  problem(l, line, "%.*s: unknown section%s", (int)section.len, section.data,
          suggestion(config_suggest_section(section), text, sizeof(text)));
  return false;
}

static void apply(struct loader *l, const struct setting *s) {
  if (!has_section(l, s->section, s->line))
    return;
  int index = config_find_key(s->section, s->name);
  char text[128];
  if (index < 0) {
    problem(l, s->line, "%.*s.%.*s: unknown key%s", (int)s->section.len, s->section.data,
            (int)s->name.len, s->name.data,
            suggestion(config_suggest_key(s->section, s->name), text, sizeof(text)));
    return;
  }
  if (set_twice(l, index, s))
    return;
  struct error err = {0};
  int rc = config_set_value(l->config, &config_keys[index], s->value, &err);
  if (rc < 0)
    problem(l, s->line, "%s.%s: %s", config_keys[index].section, config_keys[index].name, err.text);
  l->config->origins[index] = (struct config_origin){
      .source = s->line ? CONFIG_FILE : CONFIG_COMMAND_LINE,
      .path = arena_strdup(l->config->arena, str_z(l->path)),
      .line = s->line,
      .is_bad = rc < 0,
  };
}

/* ---- YAML ---- */

static int line_of(const yaml_node_t *node) {
  return (int)node->start_mark.line + 1;
}

static struct str scalar_of(const yaml_node_t *node) {
  return str_of(node->data.scalar.value, node->data.scalar.length);
}

/* `key:` with nothing behind it, and YAML's other words for that: the default, as if absent. */
static bool is_absent(const yaml_node_t *value) {
  static const char *const words[] = {"", "~", "null", "Null", "NULL"};
  if (value->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return false;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if (str_equal(scalar_of(value), str_z(words[i])))
      return true;
  return false;
}

static void walk_pair(struct loader *l, struct str section, const yaml_node_t *key,
                      const yaml_node_t *value) {
  if (key->type != YAML_SCALAR_NODE) {
    problem(l, line_of(key), "%.*s: a key must be a name", (int)section.len, section.data);
    return;
  }
  struct str name = scalar_of(key);
  if (value->type != YAML_SCALAR_NODE) {
    problem(l, line_of(key), "%.*s.%.*s: must be a single value, not a list or mapping",
            (int)section.len, section.data, (int)name.len, name.data);
    return;
  }
  if (is_absent(value) && config_find_key(section, name) >= 0)
    return;
  const struct setting s = {section, name, scalar_of(value), line_of(key)};
  apply(l, &s);
}

static void walk_section(struct loader *l, yaml_document_t *document, const yaml_node_t *key,
                         const yaml_node_t *body) {
  if (key->type != YAML_SCALAR_NODE) {
    problem(l, line_of(key), "a section must be a name");
    return;
  }
  struct str section = scalar_of(key);
  if (!has_section(l, section, line_of(key)))
    return;
  if (body->type == YAML_SCALAR_NODE && is_absent(body))
    return;
  if (body->type != YAML_MAPPING_NODE) {
    problem(l, line_of(key), "%.*s: must hold keys, such as \"%.*s:\" followed by indented lines",
            (int)section.len, section.data, (int)section.len, section.data);
    return;
  }
  for (yaml_node_pair_t *pair = body->data.mapping.pairs.start; pair < body->data.mapping.pairs.top;
       pair++)
    walk_pair(l, section, yaml_document_get_node(document, pair->key),
              yaml_document_get_node(document, pair->value));
}

/* Whether an earlier pair of the file has the same section. YAML forbids that, libyaml doesn't. */
static bool is_repeated(struct loader *l, yaml_document_t *document, const yaml_node_t *root,
                        const yaml_node_pair_t *pair) {
  const yaml_node_t *key = yaml_document_get_node(document, pair->key);
  for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < pair; p++) {
    const yaml_node_t *earlier = yaml_document_get_node(document, p->key);
    if (key->type != YAML_SCALAR_NODE || earlier->type != YAML_SCALAR_NODE ||
        !str_equal(scalar_of(key), scalar_of(earlier)))
      continue;
    problem(l, line_of(key), "%.*s: section given twice: first in line %d",
            (int)key->data.scalar.length, (const char *)key->data.scalar.value, line_of(earlier));
    return true;
  }
  return false;
}

static void walk_document(struct loader *l, yaml_document_t *document) {
  yaml_node_t *root = yaml_document_get_root_node(document);
  if (!root) /* an empty file: the defaults */
    return;
  if (root->type != YAML_MAPPING_NODE) {
    problem(l, line_of(root), "must hold sections, such as \"server:\"");
    return;
  }
  for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
       pair++)
    if (!is_repeated(l, document, root, pair))
      walk_section(l, document, yaml_document_get_node(document, pair->key),
                   yaml_document_get_node(document, pair->value));
}

static void put_parser_problem(struct loader *l, const yaml_parser_t *parser, FILE *file) {
  const char *what = parser->problem ? parser->problem : "out of memory";
  if (ferror(file))
    problem(l, 0, "can't be read: %s", strerror(errno));
  else if (parser->error == YAML_READER_ERROR)
    problem(l, 0, "not YAML: %s at byte %zu", what, parser->problem_offset);
  else
    problem(l, (int)parser->problem_mark.line + 1, "not YAML: %s", what);
}

/* Settings behind a second `---` would be ignored in silence: they are refused. */
static void load_end(struct loader *l, yaml_parser_t *parser, FILE *file) {
  yaml_document_t document;
  if (!yaml_parser_load(parser, &document)) {
    put_parser_problem(l, parser, file);
    return;
  }
  if (yaml_document_get_root_node(&document))
    problem(l, (int)document.start_mark.line + 1, "a second document: all settings must be in one");
  yaml_document_delete(&document);
}

static void load_stream(struct loader *l, FILE *file) {
  yaml_parser_t parser;
  yaml_document_t document;
  if (!yaml_parser_initialize(&parser)) {
    problem(l, 0, "out of memory");
    return;
  }
  yaml_parser_set_input_file(&parser, file);
  if (yaml_parser_load(&parser, &document)) {
    bool is_empty = !yaml_document_get_root_node(&document);
    walk_document(l, &document);
    yaml_document_delete(&document);
    if (!is_empty)
      load_end(l, &parser, file);
  } else {
    put_parser_problem(l, &parser, file);
  }
  yaml_parser_delete(&parser);
}

static void load_file(struct loader *l) {
  FILE *file = fopen(l->path, "re");
  if (!file) {
    problem(l, 0, "%s", strerror(errno));
    return;
  }
  load_stream(l, file);
  fclose(file);
}

/* ---- overrides ---- */

static void apply_override(struct loader *l, const char *text) {
  const char *dot = strchr(text, '.');
  const char *equal = strchr(text, '=');
  if (!dot || !equal || dot > equal) {
    problem(l, 0, "%s: must be section.key=value", text);
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

int config_load_values(struct config *ret_config, const struct config_input *input,
                       FILE *problems) {
  struct config config = {.arena = xcalloc(1, sizeof(struct arena))};
  arena_init(config.arena, CONFIG_ARENA_BYTES);
  config.origins = xcalloc((size_t)config_key_count, sizeof(*config.origins));
  load_defaults(&config);
  struct loader l = {.config = &config, .problems = problems, .path = input->path};
  if (input->path)
    load_file(&l);
  l.path = "--set";
  for (int i = 0; i < input->override_count; i++)
    apply_override(&l, input->overrides[i]);
  *ret_config = config;
  return l.errors;
}

int config_load(struct config *ret_config, const struct config_input *input, FILE *problems) {
  struct config config;
  int errors = config_load_values(&config, input, problems);
  errors += config_check(&config, problems);
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
