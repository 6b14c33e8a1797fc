#include "base/settings_file.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Names and values are quoted from the file: none may begin a line of its own or steer a terminal.
 */
static void flatten(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      *text = '?';
}

void settings_file_problem(struct settings_file *file, int line, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  flatten(text);
  if (line)
    fprintf(file->problems, "%s:%d: %s\n", file->path, line, text);
  else
    fprintf(file->problems, "%s: %s\n", file->path, text);
  file->count++;
}

const char *settings_file_suggestion(const char *name, char *text, size_t size) {
  text[0] = '\0';
  if (name)
    snprintf(text, size, " (did you mean %s?)", name);
  return text;
}

int settings_file_line(const yaml_node_t *node) {
  return (int)node->start_mark.line + 1;
}

struct str settings_file_text(const yaml_node_t *node) {
  return str_of(node->data.scalar.value, node->data.scalar.length);
}

bool settings_file_is_absent(const yaml_node_t *value) {
  static const char *const words[] = {"", "~", "null", "Null", "NULL"};
  if (value->type != YAML_SCALAR_NODE || value->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return false;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if (str_is(settings_file_text(value), words[i]))
      return true;
  return false;
}

const yaml_node_t *settings_file_earlier(yaml_document_t *document, const yaml_node_t *mapping,
                                         const yaml_node_pair_t *pair) {
  const yaml_node_t *key = yaml_document_get_node(document, pair->key);
  for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
    const yaml_node_t *earlier = yaml_document_get_node(document, p->key);
    if (key->type == YAML_SCALAR_NODE && earlier->type == YAML_SCALAR_NODE &&
        str_equal(settings_file_text(key), settings_file_text(earlier)))
      return earlier;
  }
  return NULL;
}

/* ---- reading ---- */

static void put_parser_problem(struct settings_file *file, const yaml_parser_t *parser, FILE *in) {
  const char *what = parser->problem ? parser->problem : "out of memory";
  if (ferror(in))
    settings_file_problem(file, 0, "can't be read: %s", strerror(errno));
  else if (parser->error == YAML_READER_ERROR)
    settings_file_problem(file, 0, "not YAML: %s at byte %zu", what, parser->problem_offset);
  else
    settings_file_problem(file, (int)parser->problem_mark.line + 1, "not YAML: %s", what);
}

/* Settings behind a second `---` would be ignored in silence: they are refused. */
static void read_end(struct settings_file *file, yaml_parser_t *parser, FILE *in) {
  yaml_document_t document;
  if (!yaml_parser_load(parser, &document)) {
    put_parser_problem(file, parser, in);
    return;
  }
  if (yaml_document_get_root_node(&document))
    settings_file_problem(file, (int)document.start_mark.line + 1,
                          "a second document: all settings must be in one");
  yaml_document_delete(&document);
}

void settings_file_read(struct settings_file *file, FILE *in, settings_file_cb *cb, void *arg) {
  yaml_parser_t parser;
  yaml_document_t document;
  if (!yaml_parser_initialize(&parser)) {
    settings_file_problem(file, 0, "out of memory");
    return;
  }
  yaml_parser_set_input_file(&parser, in);
  if (yaml_parser_load(&parser, &document)) {
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root)
      cb(arg, &document, root);
    bool is_empty = !root;
    yaml_document_delete(&document);
    if (!is_empty)
      read_end(file, &parser, in);
  } else {
    put_parser_problem(file, &parser, in);
  }
  yaml_parser_delete(&parser);
}
