/*
 * json_text: what stands between the quotes of a text in JSON (RFC 8259, 7).
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* One byte of a text takes at most so many. */
#define JSON_TEXT_GROWTH 6

/* Appends `text`, escaped. Invalid UTF-8 becomes U+FFFD. False when it was cut, which is done
 * between characters, because `out` is full. */
bool json_text_append(struct buf *out, struct str text);
