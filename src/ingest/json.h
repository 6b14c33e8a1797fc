/*
 * json: checks that a text is one JSON object as RFC 8259 has it, and one that PostgreSQL can also
 * turn into jsonb: no U+0000 and no lone surrogate, written as escapes or not. Builds nothing,
 * allocates nothing.
 */
#pragma once

#include "base/str.h"

/* Deepest nesting that a caller may allow. */
#define JSON_MAX_DEPTH 64

enum json_fault {
  JSON_MALFORMED,
  JSON_NOT_AN_OBJECT, /* it doesn't begin as one */
  JSON_TOO_DEEP,
  JSON_NUL,       /* \u0000, which is JSON, but no text of PostgreSQL's */
  JSON_SURROGATE, /* one without its other half: the same */
  JSON_NOT_UTF8,
};

struct json_problem {
  enum json_fault fault;
  size_t offset;    /* in bytes, of the value or escape at fault, or where the grammar is left */
  const char *what; /* of JSON_MALFORMED: what was found or expected there; static */
  int depth;        /* of JSON_TOO_DEEP: how deep the whole text is nested */
};

/* Whether `text` is an object nested at most `max_depth` levels deep, itself included. If not,
 * *ret_problem says why. */
bool json_check_object(struct str text, int max_depth, struct json_problem *ret_problem);
