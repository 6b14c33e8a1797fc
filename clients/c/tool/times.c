#include "times.h"

#include "base/timestamp.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NANOS_PER_SECOND 1000000000
#define SECONDS_MIN      (TIMESTAMP_MIN_US / 1000000)
#define SECONDS_MAX      (TIMESTAMP_MAX_US / 1000000)

static bool take_char(const char **text, const char *allowed) {
  if (!**text || !strchr(allowed, **text))
    return false;
  (*text)++;
  return true;
}

/* ".123": optional; at most nine digits. */
static bool take_fraction(const char **text, int32_t *ret_nanos) {
  *ret_nanos = 0;
  if (**text != '.')
    return true;
  (*text)++;
  int32_t nanos = 0;
  int digits = 0;
  for (; isdigit((unsigned char)**text); (*text)++) {
    if (++digits > 9)
      return false;
    nanos = nanos * 10 + (**text - '0');
  }
  for (int i = digits; i < 9; i++)
    nanos *= 10;
  *ret_nanos = nanos;
  return digits > 0;
}

bool times_parse_rfc3339(const char *text, int64_t *ret_seconds, int32_t *ret_nanos) {
  int64_t us = 0;
  if (!timestamp_parse(str_z(text), &us))
    return false;
  *ret_seconds = us / 1000000 - (us % 1000000 < 0);
  *ret_nanos = (int32_t)(us - *ret_seconds * 1000000) * 1000;
  return true;
}

/* Appends ".123" with 3, 6 or 9 digits, or nothing. */
static void format_fraction(int32_t nanos, char *text, size_t size) {
  if (nanos == 0)
    text[0] = '\0';
  else if (nanos % 1000000 == 0)
    snprintf(text, size, ".%03" PRId32, nanos / 1000000);
  else if (nanos % 1000 == 0)
    snprintf(text, size, ".%06" PRId32, nanos / 1000);
  else
    snprintf(text, size, ".%09" PRId32, nanos);
}

void times_format_rfc3339(int64_t seconds, int32_t nanos, char ret_text[TIMES_TEXT_SIZE]) {
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos >= NANOS_PER_SECOND) {
    snprintf(ret_text, TIMES_TEXT_SIZE, "out of range");
    return;
  }
  struct tm tm;
  time_t at = (time_t)seconds;
  gmtime_r(&at, &tm);
  char fraction[12];
  format_fraction(nanos, fraction, sizeof(fraction));
  size_t len = strftime(ret_text, TIMES_TEXT_SIZE, "%4Y-%m-%dT%H:%M:%S", &tm);
  snprintf(ret_text + len, TIMES_TEXT_SIZE - len, "%sZ", fraction);
}

bool times_parse_duration(const char *text, int64_t *ret_seconds, int32_t *ret_nanos) {
  bool is_negative = take_char(&text, "-");
  int64_t seconds = 0;
  if (!isdigit((unsigned char)*text))
    return false;
  for (; isdigit((unsigned char)*text); text++) {
    seconds = seconds * 10 + (*text - '0');
    if (seconds > 315576000000) /* what google.protobuf.Duration allows: 10,000 years */
      return false;
  }
  if (!take_fraction(&text, ret_nanos) || strcmp(text, "s") != 0)
    return false;
  *ret_seconds = is_negative ? -seconds : seconds;
  *ret_nanos = is_negative ? -*ret_nanos : *ret_nanos;
  return true;
}

void times_format_duration(int64_t seconds, int32_t nanos, char ret_text[TIMES_TEXT_SIZE]) {
  if (nanos <= -NANOS_PER_SECOND || nanos >= NANOS_PER_SECOND) {
    snprintf(ret_text, TIMES_TEXT_SIZE, "out of range");
    return;
  }
  bool is_negative = seconds < 0 || nanos < 0;
  char fraction[12];
  format_fraction(abs(nanos), fraction, sizeof(fraction));
  uint64_t magnitude = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
  snprintf(ret_text, TIMES_TEXT_SIZE, "%s%" PRIu64 "%ss", is_negative ? "-" : "", magnitude,
           fraction);
}

bool times_parse_span(const char *text, int64_t *ret_ms) {
  static const struct {
    const char *name;
    int64_t ms;
  } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  int64_t number = 0;
  const char *unit = text;
  for (; isdigit((unsigned char)*unit) && unit - text < 9; unit++)
    number = number * 10 + (*unit - '0');
  for (size_t i = 0; unit > text && i < sizeof(units) / sizeof(units[0]); i++)
    if (strcmp(unit, units[i].name) == 0) {
      *ret_ms = number * units[i].ms;
      return true;
    }
  return false;
}

bool times_parse_point(const char *text, int64_t *ret_seconds, int32_t *ret_nanos) {
  int64_t back_ms = 0;
  if (!times_parse_span(text, &back_ms))
    return times_parse_rfc3339(text, ret_seconds, ret_nanos);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - back_ms;
  *ret_seconds = at_ms / 1000 - (at_ms % 1000 < 0);
  *ret_nanos = (int32_t)((at_ms % 1000 + 1000) % 1000) * 1000000;
  return *ret_seconds >= SECONDS_MIN && *ret_seconds <= SECONDS_MAX;
}
