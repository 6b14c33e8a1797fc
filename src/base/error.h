/*
 * error: one error as every part reports it, and the one table of its kinds.
 *
 * A function that can fail returns 0 or a negative enum error_code and, where it takes a
 * `struct error *err`, fills it once, at the origin; callers may put context in front with
 * error_prefix(). `err` may be NULL. Out-parameters (`ret_x`) stay untouched on failure.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

/* clang-format off */
/*   name               value  gRPC code  retry  text                          */
#define ERROR_MAP(X)                                                           \
  X(INVALID_ARGUMENT,     -1,   3, false, "invalid argument")                  \
  X(NOT_FOUND,            -2,   5, false, "not found")                         \
  X(ALREADY_EXISTS,       -3,   6, false, "already exists")                    \
  X(EXHAUSTED,            -4,   8, true,  "resource exhausted")                \
  X(UNAVAILABLE,          -5,  14, true,  "unavailable")                       \
  X(TIMEOUT,              -6,   4, true,  "deadline exceeded")                 \
  X(CANCELED,             -7,   1, false, "canceled")                          \
  X(FAILED_PRECONDITION,  -8,   9, false, "failed precondition")               \
  X(INTERNAL,             -9,  13, false, "internal")                          \
  X(UNSUPPORTED,         -10,  12, false, "unsupported")
/* clang-format on */

enum error_code {
  ERR_OK = 0,
#define ERROR_ENUM(name, value, grpc, retry, text) ERR_##name = (value),
  ERROR_MAP(ERROR_ENUM)
#undef ERROR_ENUM
};

struct error {
  enum error_code code;
  char text[512];
};

/* Sets *err (when not NULL) and returns `code`, so that `return error_set(...)` reads well. */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text. Cuts what does not fit. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "unavailable" for ERR_UNAVAILABLE, "ok" for 0. Never NULL. */
const char *error_name(enum error_code code);

/* The gRPC status code (0 to 16) a caller over the wire sees. */
int error_grpc_code(enum error_code code);

/* Whether the same request may succeed later. */
bool error_is_retryable(enum error_code code);
