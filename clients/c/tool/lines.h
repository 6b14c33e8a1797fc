/*
 * lines: reads a file line by line in a buffer of fixed size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* event_data has up to 1 MiB, and up to six times that as a string whose characters are escaped. */
#define LINES_MAX_BYTES ((size_t)8 * 1024 * 1024)

struct lines {
  int fd;          /* borrowed */
  uint64_t number; /* of the line that lines_next() gave last; the first is 1 */
  char *buffer;    /* owned */
  size_t start;    /* of what isn't given yet */
  size_t end;
  bool is_at_end;
  bool is_skipping; /* inside a line that is too long */
  uint64_t skipped; /* how long it is, once LINES_TOO_LONG was returned */
};

enum lines_result {
  LINES_OK,
  LINES_END,
  LINES_TOO_LONG, /* this line is skipped; go on with the next call */
  LINES_FAILED    /* errno says why */
};

/* False: out of memory. */
bool lines_init(struct lines *lines, int fd);
void lines_deinit(struct lines *lines);

/* The next line without its line break, the first one without a byte order mark in front, with a
 * NUL behind it. The text may be changed and is valid until the next call. Blocks until there is
 * one. */
enum lines_result lines_next(struct lines *lines, char **ret_text, size_t *ret_len);

/* Whether lines_next() would have to wait for more input. */
bool lines_would_wait(struct lines *lines);
