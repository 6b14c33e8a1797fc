/*
 * text: showing texts that came from elsewhere.
 *
 * Event texts are written by whoever can write events. Shown as they are, an escape sequence in one
 * could repaint the reader's terminal, and a bidirectional control could reorder what is read, so
 * both are shown as \uXXXX. Widths count code points.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What is shown of bytes that aren't UTF-8. */
#define TEXT_REPLACEMENT      0xFFFDU
#define TEXT_REPLACEMENT_UTF8 "\xEF\xBF\xBD"

/* One code point of `text`, which isn't at its end; moves *text behind it. Bytes that aren't UTF-8
 * come one by one as TEXT_REPLACEMENT. */
uint32_t text_next(const char **text);

/* Whether this code point must not reach a terminal as it is. */
int text_is_unsafe(uint32_t code_point);

void text_print_escaped(FILE *out, const char *text);

/* `text` with everything unsafe escaped, in new memory. NULL: out of memory. */
char *text_escape(const char *text);

/* In code points. */
size_t text_width(const char *text);

/* Prints at most `width` code points, with an ellipsis as the last one where something is cut, and
 * fills up with spaces when `is_padded`. `text` is escaped already. */
void text_print_cell(FILE *out, const char *text, size_t width, int is_padded);
