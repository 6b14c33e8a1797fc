/*
 * paragraphs: plain texts for people: paragraphs apart by an empty line; one whose lines begin with
 * four spaces is shown as it stands.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef void paragraphs_cb(void *arg, const char *text, size_t len, bool is_literal);
void paragraphs_each(const char *text, paragraphs_cb *cb, void *arg);
