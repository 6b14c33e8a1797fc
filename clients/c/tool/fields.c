#include "fields.h"

#include "text.h"
#include "times.h"

#include <inttypes.h>
#include <stdio.h>

#define NAME_WIDTH 18

void fields_print_text(const char *name, const char *text) {
  if (!text || !*text)
    return;
  printf("%-*s", NAME_WIDTH, name);
  text_print_escaped(stdout, text);
  putchar('\n');
}

void fields_print_number(const char *name, int64_t number) {
  printf("%-*s%" PRId64 "\n", NAME_WIDTH, name, number);
}

void fields_print_time(const char *name, const Google__Protobuf__Timestamp *time) {
  char text[TIMES_TEXT_SIZE];
  if (!time)
    return;
  times_format_rfc3339(time->seconds, time->nanos, text);
  fields_print_text(name, text);
}

void fields_print_duration(const char *name, const Google__Protobuf__Duration *duration) {
  char text[TIMES_TEXT_SIZE];
  if (!duration)
    return;
  times_format_duration(duration->seconds, duration->nanos, text);
  fields_print_text(name, text);
}
