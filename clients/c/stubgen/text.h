/*
 * text: heap texts and templates for the generator. Running out of memory ends the program with a
 * message and exit code 1: a generator has nothing to save.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Why generation failed, in words for the author of the .proto file. */
struct gen_error {
  char text[1024];
};

/* Fills `err` and returns -1. */
int gen_fail(struct gen_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Zeroed memory; never NULL. Freed with free(). */
void *mem_new(size_t count, size_t size);

/* Never NULL. Freed with free(). */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A file that collects what is written to it. text_sink_take() closes it and returns the text,
 * which the caller owns. A sink can't be moved meanwhile. */
struct text_sink {
  FILE *out;
  char *data;
  size_t len;
};
void text_sink_init(struct text_sink *sink);
char *text_sink_take(struct text_sink *sink);

/* What $key$ in a template stands for. An array of them ends with a NULL key. */
struct text_var {
  const char *key;
  const char *value;
};

/* Writes `template` with each $key$ replaced. A key that isn't in `vars` is a bug of the caller. */
void text_expand(FILE *out, const struct text_var *vars, const char *template);

/* Writes `comment`, as protoc reports it, as lines of a C block comment (" * ..."), with what would
 * open or close a comment pulled apart. NULL or empty writes nothing. */
void text_write_comment(FILE *out, const char *comment);
