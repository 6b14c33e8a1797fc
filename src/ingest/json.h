/*
 * json: checks that a text is one JSON object as RFC 8259 has it, and one that PostgreSQL can also
 * turn into jsonb: no U+0000 and no lone surrogate, written as escapes or not. Builds nothing,
 * allocates nothing.
 */
#pragma once

#include "base/str.h"

/* Deepest nesting that a caller may allow. */
#define JSON_MAX_DEPTH 64

/* NULL when `text` is an object nested at most `max_depth` levels deep, itself included; else what
 * is wrong, a static text, and *ret_offset is where. */
const char *json_check_object(struct str text, int max_depth, size_t *ret_offset);
