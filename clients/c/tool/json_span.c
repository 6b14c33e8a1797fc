#include "json_span.h"

#include <string.h>

struct scanner {
  const char *text;
  size_t len;
  size_t at;
};

static char peek(const struct scanner *s) {
  if (s->at >= s->len)
    return '\0';
  return s->text[s->at];
}

static void skip_blanks(struct scanner *s) {
  while (peek(s) && strchr(" \t\r\n", peek(s)))
    s->at++;
}

static bool take(struct scanner *s, char wanted) {
  skip_blanks(s);
  if (peek(s) != wanted)
    return false;
  s->at++;
  return true;
}

static bool skip_string(struct scanner *s) {
  if (!take(s, '"'))
    return false;
  for (; s->at < s->len; s->at++) {
    if (s->text[s->at] == '"') {
      s->at++;
      return true;
    }
    if (s->text[s->at] == '\\')
      s->at++;
  }
  return false;
}

/* A number, true, false or null: up to what may follow a value. */
static bool skip_word(struct scanner *s) {
  size_t start = s->at;
  while (peek(s) && !strchr(",]} \t\r\n", peek(s)))
    s->at++;
  return s->at > start;
}

static bool skip_nested(struct scanner *s) {
  size_t depth = 0;
  while (s->at < s->len) {
    char c = peek(s);
    if (c == '"') {
      if (!skip_string(s))
        return false;
      continue;
    }
    s->at++;
    if (c == '{' || c == '[')
      depth++;
    else if ((c == '}' || c == ']') && --depth == 0)
      return true;
  }
  return false;
}

static bool skip_value(struct scanner *s) {
  char c = peek(s);
  if (c == '"')
    return skip_string(s);
  if (c == '{' || c == '[')
    return skip_nested(s);
  return skip_word(s);
}

static bool is_name(const struct scanner *s, size_t start, const char *name) {
  size_t len = strlen(name);
  return s->at - start == len + 2 && memcmp(s->text + start + 1, name, len) == 0;
}

bool json_span_find(const char *text, size_t len, const char *name, const char *other_name,
                    struct json_span *ret_span) {
  struct scanner s = {.text = text, .len = len, .at = 0};
  if (!take(&s, '{'))
    return false;
  do {
    skip_blanks(&s);
    size_t key = s.at;
    if (!skip_string(&s))
      return false;
    bool is_it = is_name(&s, key, name) || is_name(&s, key, other_name);
    if (!take(&s, ':'))
      return false;
    skip_blanks(&s);
    size_t start = s.at;
    if (!skip_value(&s))
      return false;
    if (is_it) {
      *ret_span = (struct json_span){.start = start, .len = s.at - start};
      return true;
    }
  } while (take(&s, ','));
  return false;
}
