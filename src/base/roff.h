/*
 * roff: manual pages in man(7), from plain texts (base/paragraphs.h). Nothing in a text is taken as
 * a request or an escape; what stands between two backquotes is set in bold.
 */
#pragma once

#include <stdio.h>

struct roff_title {
  const char *name;    /* AUDITSTORE */
  const char *section; /* 1 */
  const char *date;    /* 2026-11-25 */
  const char *source;  /* the program and its version */
};

/* The first line, and the section NAME. */
void roff_begin(FILE *out, const struct roff_title *title, const char *names, const char *summary);

void roff_section(FILE *out, const char *name);
void roff_subsection(FILE *out, const char *name);

/* Paragraphs with a distance between them. */
void roff_paragraphs(FILE *out, const char *text);

/* A distance: needed in front of paragraphs that don't begin a section. */
void roff_break(FILE *out);

/* The words in bold, then those in italics; each may be NULL. A line of its own. */
void roff_words(FILE *out, const char *bold, const char *italic);

/* What follows, up to the next item or paragraph, is indented below the tag that comes first:
 * roff_words() or roff_text(). */
void roff_item(FILE *out);

/* One paragraph without distance, such as the text of an item. */
void roff_text(FILE *out, const char *text);
