#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die_out_of_memory(void) {
  fputs("protoc-gen-auditstore-c: out of memory\n", stderr);
  exit(1);
}

int gen_fail(struct gen_error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  (void)vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  return -1;
}

void *mem_new(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory)
    die_out_of_memory();
  return memory;
}

char *text_format(const char *format, ...) {
  char *text = NULL;
  va_list args;
  va_start(args, format);
  int len = vasprintf(&text, format, args);
  va_end(args);
  if (len < 0)
    die_out_of_memory();
  return text;
}

void text_sink_init(struct text_sink *sink) {
  sink->out = open_memstream(&sink->data, &sink->len);
  if (!sink->out)
    die_out_of_memory();
}

char *text_sink_take(struct text_sink *sink) {
  if (fclose(sink->out) != 0)
    die_out_of_memory();
  return sink->data;
}

static const char *var_value(const struct text_var *vars, const char *key, size_t key_len) {
  while (strlen(vars->key) != key_len || memcmp(vars->key, key, key_len) != 0) {
    vars++;
    assert(vars->key);
  }
  return vars->value;
}

void text_expand(FILE *out, const struct text_var *vars, const char *template) {
  const char *at = template;
  for (const char *open = strchr(at, '$'); open; open = strchr(at, '$')) {
    const char *close = strchr(open + 1, '$');
    assert(close);
    fwrite(at, 1, (size_t)(open - at), out);
    fputs(var_value(vars, open + 1, (size_t)(close - open - 1)), out);
    at = close + 1;
  }
  fputs(at, out);
}

static void write_comment_line(FILE *out, const char *line, size_t len) {
  while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
    len--;
  fputs(len > 0 && line[0] != ' ' ? " * " : " *", out);
  for (size_t i = 0; i < len; i++) {
    fputc(line[i], out);
    const char *pair = line + i;
    if (i + 1 < len && ((pair[0] == '*' && pair[1] == '/') || (pair[0] == '/' && pair[1] == '*')))
      fputc(' ', out);
  }
  fputc('\n', out);
}

void text_write_comment(FILE *out, const char *comment) {
  while (comment && *comment) {
    size_t len = strcspn(comment, "\n");
    write_comment_line(out, comment, len);
    comment += len + (comment[len] == '\n');
  }
}
