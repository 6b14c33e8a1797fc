/*
 * timestamp: RFC 3339 text and calendar months for microseconds since 1970-01-01T00:00:00Z.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* "2026-11-23T07:52:25.123456Z" and a NUL. */
#define TIMESTAMP_TEXT_SIZE 28

/* Years 1 to 9999, as google.protobuf.Timestamp allows. */
#define TIMESTAMP_MIN_US (-62135596800000000LL)
#define TIMESTAMP_MAX_US 253402300799999999LL

/* Always six fractional digits and Z. `us` within the range above. */
void timestamp_format(int64_t us, char ret_text[TIMESTAMP_TEXT_SIZE]);

/* RFC 3339 with any offset and 0 to 9 fractional digits (cut to microseconds). */
bool timestamp_parse(struct str text, int64_t *ret_us);

/* Months since January of year 0, so that neighbours differ by one: the safe way to step months. */
int timestamp_month(int64_t us);

/* The first instant of such a month. */
int64_t timestamp_month_start_us(int month);
