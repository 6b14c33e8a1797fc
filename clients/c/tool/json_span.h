/*
 * json_span: where the value of a member of a JSON object stands in its text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json_span {
  size_t start;
  size_t len;
};

/* Finds the value of the first member called `name` or `other_name` of the object that `text` is.
 * False: no such member, or the text isn't JSON as far as that. It doesn't check the value itself
 * beyond where it ends. */
bool json_span_find(const char *text, size_t len, const char *name, const char *other_name,
                    struct json_span *ret_span);
