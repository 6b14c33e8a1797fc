#include "base/error.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *err, enum error_code code, const char *format, ...) {
  if (!err)
    return code;
  va_list args;
  va_start(args, format);
  err->code = code;
  vsnprintf(err->text, sizeof(err->text), format, args);
  va_end(args);
  return code;
}

void error_prefix(struct error *err, const char *format, ...) {
  if (!err)
    return;
  char text[sizeof(err->text)];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  if (len < 0 || (size_t)len + 3 > sizeof(text))
    return;
  size_t room = sizeof(text) - (size_t)len - 3;
  size_t kept = strnlen(err->text, room);
  memcpy(text + len, ": ", 2);
  memcpy(text + len + 2, err->text, kept);
  text[(size_t)len + 2 + kept] = '\0';
  memcpy(err->text, text, sizeof(text));
}

/* Row of the table by -code; ERR_OK is row 0. */
static const struct {
  const char *name;
  int grpc_code;
  bool is_retryable;
} error_rows[] = {{"ok", 0, false},
#define ERROR_ROW(name, value, grpc, retry, text) [-(value)] = {text, grpc, retry},
                  ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
};

#define GRPC_UNKNOWN 2

static bool is_known(enum error_code code) {
  return code <= 0 && (size_t)-code < sizeof(error_rows) / sizeof(error_rows[0]);
}

const char *error_name(enum error_code code) {
  return is_known(code) ? error_rows[-code].name : "unknown";
}

int error_grpc_code(enum error_code code) {
  return is_known(code) ? error_rows[-code].grpc_code : GRPC_UNKNOWN;
}

bool error_is_retryable(enum error_code code) {
  return is_known(code) && error_rows[-code].is_retryable;
}
