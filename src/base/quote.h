/*
 * quote: a short value from elsewhere as a message shows it, in quotation marks.
 *
 * Printable ASCII stands as it is, but for a backslash before '"' and '\'; every other byte is
 * \xNN, so that nothing in it reaches a terminal or passes for the message's own words. What is too
 * long ends in "..." before the mark.
 */
#pragma once

#include "base/str.h"

#define QUOTE_SIZE 96 /* with the NUL */

/* Writes the text to `ret_quoted` and returns it. */
const char *quote(struct str text, char ret_quoted[QUOTE_SIZE]);
