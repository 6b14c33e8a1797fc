/*
 * text: showing texts that came from elsewhere.
 *
 * Event texts are written by whoever can write events. Shown as they are, an escape sequence in one
 * could repaint the reader's terminal, a bidirectional control could reorder what is read, and by
 * characters that can't be seen two different names could look the same; so all of these are shown
 * as \uXXXX, as JSON writes them. Widths count code points.
 */
#pragma once

#include <stdbool.h>
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
bool text_is_unsafe(uint32_t code_point);

/* Room for the longest escape, "\udb40\udc01" of U+E0001, and a NUL. */
#define TEXT_ESCAPE_SIZE 13

/* The code point as the escape that JSON has for it. */
void text_escape_of(uint32_t code_point, char ret_escape[TEXT_ESCAPE_SIZE]);

/* Prints one code point, as an escape where it is unsafe, and moves *text behind it. */
void text_print_next(FILE *out, const char **text);

/* All of them. */
void text_print_escaped(FILE *out, const char *text);

/* `text` with everything unsafe escaped, in new memory. NULL: out of memory. */
char *text_escape(const char *text);

/* In code points. */
size_t text_width(const char *text);

/* Prints at most `width` code points, with an ellipsis as the last one where something is cut, and
 * fills up with spaces when `is_padded`. `text` is escaped already. */
void text_print_cell(FILE *out, const char *text, size_t width, int is_padded);
