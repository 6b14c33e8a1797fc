#include "ingest/json.h"

#include <assert.h>

/* A reader; `at` is the next byte, or what is at fault. */
struct reader {
  const uint8_t *at;
  const uint8_t *end;
  enum json_fault fault;
  const char *what;   /* of JSON_MALFORMED */
  uint64_t is_object; /* bit n: the container at depth n + 1 is an object, not an array */
  int depth;
  int max_depth;
};

enum byte_class {
  BYTE_PLAIN = 0,
  BYTE_SPECIAL = 1, /* ends a run of plain bytes within a text */
  BYTE_SPACE = 2,
};

static const uint8_t classes[256] = {
    [0x00 ... 0x08] = BYTE_SPECIAL,
    ['\t'] = BYTE_SPECIAL | BYTE_SPACE,
    ['\n'] = BYTE_SPECIAL | BYTE_SPACE,
    [0x0B ... 0x0C] = BYTE_SPECIAL,
    ['\r'] = BYTE_SPECIAL | BYTE_SPACE,
    [0x0E ... 0x1F] = BYTE_SPECIAL,
    [' '] = BYTE_SPACE,
    ['"'] = BYTE_SPECIAL,
    ['\\'] = BYTE_SPECIAL,
};

static bool fail(struct reader *r, const char *what) {
  r->fault = JSON_MALFORMED;
  r->what = what;
  return false;
}

static bool fail_at(struct reader *r, const uint8_t *at, enum json_fault fault) {
  r->at = at;
  r->fault = fault;
  return false;
}

/* The next byte, 0 at the end: no byte of valid JSON is 0. */
static uint8_t peek(const struct reader *r) {
  return r->at < r->end ? *r->at : 0;
}

static uint8_t skip_space(struct reader *r) {
  while (r->at < r->end && (classes[*r->at] & BYTE_SPACE))
    r->at++;
  return peek(r);
}

static bool is_digit(uint8_t c) {
  return c >= '0' && c <= '9';
}

static int hex_value(uint8_t c) {
  if (is_digit(c))
    return c - '0';
  uint8_t lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits of \uXXXX; negative when they aren't. */
static int read_hex4(struct reader *r) {
  if (r->end - r->at < 4)
    return -1;
  int value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_value(r->at[i]);
    if (digit < 0)
      return -1;
    value = value << 4 | digit;
  }
  r->at += 4;
  return value;
}

/* Behind \\u. */
static bool check_unicode_escape(struct reader *r) {
  const uint8_t *escape = r->at - 2;
  int unit = read_hex4(r);
  if (unit < 0)
    return fail(r, "\\u without four hex digits");
  if (unit == 0)
    return fail_at(r, escape, JSON_NUL);
  if (unit < 0xD800 || unit > 0xDFFF)
    return true;
  if (unit >= 0xDC00 || r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
    return fail_at(r, escape, JSON_SURROGATE);
  r->at += 2;
  int low = read_hex4(r);
  if (low < 0xDC00 || low > 0xDFFF)
    return fail_at(r, escape, JSON_SURROGATE);
  return true;
}

/* Behind the backslash. */
static bool check_escape(struct reader *r) {
  switch (peek(r)) {
  case '"':
  case '\\':
  case '/':
  case 'b':
  case 'f':
  case 'n':
  case 'r':
  case 't':
    r->at++;
    return true;
  case 'u':
    r->at++;
    return check_unicode_escape(r);
  default:
    return fail(r, "unknown escape in a text");
  }
}

/* At the opening quote. */
static bool check_text(struct reader *r) {
  r->at++;
  for (;;) {
    const uint8_t *at = r->at;
    while (at < r->end && !(classes[*at] & BYTE_SPECIAL))
      at++;
    r->at = at;
    if (r->at == r->end)
      return fail(r, "text without its closing quote");
    uint8_t c = *r->at;
    if (c < 0x20)
      return fail(r, "control character in a text");
    r->at++;
    if (c == '"')
      return true;
    if (!check_escape(r))
      return false;
  }
}

static bool skip_digits(struct reader *r) {
  if (!is_digit(peek(r)))
    return fail(r, "malformed number");
  while (is_digit(peek(r)))
    r->at++;
  return true;
}

static bool check_number(struct reader *r) {
  if (peek(r) == '-')
    r->at++;
  if (peek(r) == '0')
    r->at++;
  else if (!skip_digits(r))
    return false;
  if (is_digit(peek(r)))
    return fail(r, "number with a leading zero");
  if (peek(r) == '.') {
    r->at++;
    if (!skip_digits(r))
      return false;
  }
  if ((peek(r) | 0x20) != 'e')
    return true;
  r->at++;
  if (peek(r) == '+' || peek(r) == '-')
    r->at++;
  return skip_digits(r);
}

static bool check_word(struct reader *r, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
    return fail(r, "a value was expected");
  r->at += len;
  return true;
}

/* A text, number or word, which doesn't change the nesting. */
static bool check_scalar(struct reader *r, uint8_t c) {
  switch (c) {
  case '"':
    return check_text(r);
  case 't':
    return check_word(r, "true");
  case 'f':
    return check_word(r, "false");
  case 'n':
    return check_word(r, "null");
  default:
    if (c == '-' || is_digit(c))
      return check_number(r);
    return fail(r, "a value was expected");
  }
}

static bool in_object(const struct reader *r) {
  return (r->is_object >> (r->depth - 1)) & 1;
}

static bool open_container(struct reader *r, bool is_object) {
  if (r->depth == r->max_depth)
    return fail_at(r, r->at, JSON_TOO_DEEP);
  r->at++;
  uint64_t bit = 1ULL << r->depth++;
  r->is_object = is_object ? r->is_object | bit : r->is_object & ~bit;
  return true;
}

/* A member's name and colon. */
static bool check_name(struct reader *r) {
  if (skip_space(r) != '"')
    return fail(r, "a member name in quotes was expected");
  if (!check_text(r))
    return false;
  if (skip_space(r) != ':')
    return fail(r, "':' was expected");
  r->at++;
  return true;
}

/* Behind a value: closes what ends here. True with depth 0 at the end of the outermost object, and
 * behind a comma otherwise. */
static bool check_after_value(struct reader *r) {
  while (r->depth > 0) {
    uint8_t c = skip_space(r);
    if (c == ',') {
      r->at++;
      return !in_object(r) || check_name(r);
    }
    if (c != (in_object(r) ? '}' : ']'))
      return fail(r, in_object(r) ? "',' or '}' was expected" : "',' or ']' was expected");
    r->at++;
    r->depth--;
  }
  return true;
}

/* At a value: takes it with all that opens and closes with it. */
static bool check_value(struct reader *r) {
  uint8_t c = skip_space(r);
  if (c != '{' && c != '[')
    return check_scalar(r, c) && check_after_value(r);
  if (!open_container(r, c == '{'))
    return false;
  if (skip_space(r) == (c == '{' ? '}' : ']'))
    return check_after_value(r);
  return c == '[' || check_name(r);
}

static bool check_document(struct reader *r) {
  if (skip_space(r) != '{')
    return fail_at(r, r->at, JSON_NOT_AN_OBJECT);
  do {
    if (!check_value(r))
      return false;
  } while (r->depth > 0);
  skip_space(r);
  return r->at == r->end || fail(r, "text behind the object");
}

/* How deep the brackets outside of texts are nested, whatever else the text holds. */
static int count_depth(struct str text) {
  int depth = 0;
  int deepest = 0;
  bool is_in_text = false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.data[i];
    if (c == '"')
      is_in_text = !is_in_text;
    else if (is_in_text)
      i += c == '\\';
    else if (c == '{' || c == '[')
      deepest = ++depth > deepest ? depth : deepest;
    else if (c == '}' || c == ']')
      depth--;
  }
  return deepest;
}

bool json_check_object(struct str text, int max_depth, struct json_problem *ret_problem) {
  assert(max_depth <= JSON_MAX_DEPTH);
  const uint8_t *start = (const uint8_t *)text.data;
  size_t valid = utf8_valid_prefix(text);
  if (valid < text.len) {
    *ret_problem = (struct json_problem){.fault = JSON_NOT_UTF8, .offset = valid};
    return false;
  }
  struct reader r = {.at = start, .end = start + text.len, .max_depth = max_depth};
  if (check_document(&r))
    return true;
  *ret_problem =
      (struct json_problem){.fault = r.fault, .offset = (size_t)(r.at - start), .what = r.what};
  if (r.fault == JSON_TOO_DEEP)
    ret_problem->depth = count_depth(text);
  return false;
}
