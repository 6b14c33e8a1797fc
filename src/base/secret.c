#include "base/secret.h"

#include <strings.h>

static bool holds(struct str text, struct str part) {
  for (size_t at = 0; at + part.len <= text.len; at++) {
    if (strncasecmp(text.data + at, part.data, part.len) == 0)
      return true;
  }
  return false;
}

bool secret_may_be_in(struct str text) {
  static const char *const marks[] = {"@", "=", "password "};
  for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
    if (holds(text, str_z(marks[i])))
      return true;
  }
  return false;
}
