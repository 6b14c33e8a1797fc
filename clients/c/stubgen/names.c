#include "names.h"

#include "text.h"

#include <string.h>

/* ASCII alone, whatever the locale says. */
static const char uppers[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char lowers[] = "abcdefghijklmnopqrstuvwxyz";
enum { LETTERS = sizeof uppers - 1 };

static bool is_upper(char c) {
  return memchr(uppers, c, LETTERS) != NULL;
}

static bool is_lower(char c) {
  return memchr(lowers, c, LETTERS) != NULL;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static char to_upper(char c) {
  const char *at = memchr(lowers, c, LETTERS);
  if (at)
    return uppers[at - lowers];
  return c;
}

static char to_lower(char c) {
  const char *at = memchr(uppers, c, LETTERS);
  if (at)
    return lowers[at - uppers];
  return c;
}

char *name_type(const char *full_name) {
  struct text_sink sink;
  text_sink_init(&sink);
  bool starts_word = true;
  for (const char *c = full_name; *c; c++) {
    if (*c == '.')
      fputs("__", sink.out);
    else if (*c != '_')
      fputc(starts_word ? to_upper(*c) : *c, sink.out);
    starts_word = *c == '.' || *c == '_';
  }
  return text_sink_take(&sink);
}

/* A capital starts a new word unless the letter before it was one too: "HTTPPort" is "httpport". */
static char *lower_with_separator(const char *full_name, const char *separator) {
  struct text_sink sink;
  text_sink_init(&sink);
  bool was_upper = true;
  for (const char *c = full_name; *c; c++) {
    if (*c == '.') {
      fputs(separator, sink.out);
      was_upper = true;
      continue;
    }
    if (is_upper(*c) && !was_upper)
      fputc('_', sink.out);
    fputc(to_lower(*c), sink.out);
    was_upper = is_upper(*c);
  }
  return text_sink_take(&sink);
}

char *name_type_lower(const char *full_name) {
  return lower_with_separator(full_name, "__");
}

char *name_snake(const char *full_name) {
  return lower_with_separator(full_name, "_");
}

char *name_stem(const char *file_name) {
  static const char suffix[] = ".proto";
  size_t len = strlen(file_name);
  size_t suffix_len = sizeof suffix - 1;
  if (len > suffix_len && strcmp(file_name + len - suffix_len, suffix) == 0)
    len -= suffix_len;
  return text_format("%.*s", (int)len, file_name);
}

char *name_symbol(const char *stem) {
  /* A name can't start with a digit. */
  char *symbol = text_format("%s%s", is_digit(stem[0]) ? "file_" : "", stem);
  for (char *c = symbol; *c; c++) {
    if (!is_upper(*c) && !is_lower(*c) && !is_digit(*c))
      *c = '_';
  }
  return symbol;
}

char *name_upper(const char *symbol) {
  char *upper = text_format("%s", symbol);
  for (char *c = upper; *c; c++)
    *c = to_upper(*c);
  return upper;
}

bool name_is_keyword(const char *word) {
  static const char *const keywords[] = {
      "asm",      "auto",   "break",  "case",     "char",     "const",    "continue", "default",
      "do",       "double", "else",   "enum",     "extern",   "float",    "for",      "goto",
      "if",       "inline", "int",    "long",     "register", "restrict", "return",   "short",
      "signed",   "sizeof", "static", "struct",   "switch",   "typedef",  "typeof",   "union",
      "unsigned", "void",   "while",  "volatile",
  };
  for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
    if (strcmp(word, keywords[i]) == 0)
      return true;
  }
  return false;
}
