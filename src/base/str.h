/*
 * str: a borrowed run of bytes. Not NUL-terminated; `data` may be NULL when `len` is 0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
  const char *data;
  size_t len;
};

static inline struct str str_of(const void *data, size_t len) {
  return (struct str){.data = (const char *)data, .len = len};
}

static inline struct str str_z(const char *text) {
  return (struct str){.data = text, .len = text ? strlen(text) : 0};
}

static inline bool str_equal(struct str a, struct str b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Here, so that a compiler that sees the text needs no strlen. */
static inline bool str_is(struct str s, const char *text) {
  return str_equal(s, str_z(text));
}

/* Without the blanks at both ends. */
struct str str_trim(struct str s);

/* The part before the first `separator`, and *rest is what is behind it; all of it without one. */
struct str str_cut(struct str *rest, char separator);

/* The line before the first LF, and *rest is what is behind that. False: there is no LF. */
bool str_cut_line(struct str *rest, struct str *ret_line);

/* The digits at the front as a number, and *rest is what is behind them. False, and nothing is
 * changed: there are none, or the number is too large. */
bool str_cut_number(struct str *rest, int64_t *ret_number);

/* The length of the valid UTF-8 prefix (RFC 3629: no surrogates, no overlong forms, at most
 * U+10FFFF). Equal to s.len when all of it is valid. */
size_t utf8_valid_prefix(struct str s);

/* Valid UTF-8 without U+0000: what a PostgreSQL text can hold. */
bool utf8_is_storable(struct str s);
