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

const char *error_name(enum error_code code) {
  switch (code) {
  case ERR_OK:
    return "ok";
#define ERROR_NAME(name, value, grpc, retry, text)                                                 \
  case ERR_##name:                                                                                 \
    return text;
    ERROR_MAP(ERROR_NAME)
#undef ERROR_NAME
  }
  return "unknown";
}

int error_grpc_code(enum error_code code) {
  switch (code) {
  case ERR_OK:
    return 0;
#define ERROR_GRPC(name, value, grpc, retry, text)                                                 \
  case ERR_##name:                                                                                 \
    return grpc;
    ERROR_MAP(ERROR_GRPC)
#undef ERROR_GRPC
  }
  return 2;
}

bool error_is_retryable(enum error_code code) {
  switch (code) {
  case ERR_OK:
    return false;
#define ERROR_RETRY(name, value, grpc, retry, text)                                                \
  case ERR_##name:                                                                                 \
    return retry;
    ERROR_MAP(ERROR_RETRY)
#undef ERROR_RETRY
  }
  return false;
}
