#include "reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char more[] = "; ...";

void reason_set(struct reason *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(r->text, sizeof(r->text), format, args);
  va_end(args);
}

void reason_add(struct reason *r, const char *format, ...) {
  char text[REASON_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  size_t used = strlen(r->text);
  size_t room = sizeof(r->text) - used;
  if (used == 0)
    memcpy(r->text, text, sizeof(text));
  else if (strlen(text) + 2 + sizeof(more) <= room)
    snprintf(r->text + used, room, "; %s", text);
  else if (sizeof(more) <= room && used >= sizeof(more) &&
           strcmp(r->text + used - (sizeof(more) - 1), more) != 0)
    memcpy(r->text + used, more, sizeof(more));
}

const char *errno_text(int error, char room[ERRNO_TEXT_BYTES]) {
  return strerror_r(error, room, ERRNO_TEXT_BYTES);
}
