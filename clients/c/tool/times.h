/*
 * times: RFC 3339 text and durations, as proto3's JSON and the command line write them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* "9999-12-31T23:59:59.123456789Z" and a NUL. */
#define TIMES_TEXT_SIZE 32

/* RFC 3339 with any offset; years 1 to 9999. Cut to microseconds, as the store does. */
bool times_parse_rfc3339(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);

/* UTC, with as few fractional digits as hold the value: 0, 3, 6 or 9. */
void times_format_rfc3339(int64_t seconds, int32_t nanos, char ret_text[TIMES_TEXT_SIZE]);

/* proto3 JSON: "1.5s", "-0.000001s"; 0 to 9 fractional digits. */
bool times_parse_duration(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);
void times_format_duration(int64_t seconds, int32_t nanos, char ret_text[TIMES_TEXT_SIZE]);

/* A number and a unit of ms, s, m, h or d: "500ms", "24h". */
bool times_parse_span(const char *text, int64_t *ret_ms);

/* RFC 3339, or a span that is counted back from now. */
bool times_parse_point(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);
