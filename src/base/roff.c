#include "base/roff.h"

#include "base/paragraphs.h"

#include <string.h>

/* Of the page's source: lines are broken where sentences end, and where they would get longer. */
#define LINE_WIDTH 78

struct writer {
  FILE *out;
  size_t column; /* of the line that is being written */
  bool is_bold;
};

/* NULL: it stands for itself. */
static const char *escape_of(char c) {
  switch (c) {
  case '\\':
    return "\\(rs";
  case '-':
    return "\\-";
  case '\'':
    return "\\(aq";
  case '"':
    return "\\(dq";
  case '^':
    return "\\(ha";
  case '~':
    return "\\(ti";
  case '`':
    return "\\fB"; /* or R: as long */
  default:
    return NULL;
  }
}

static void put(struct writer *w, const char *text) {
  fputs(text, w->out);
  w->column += strlen(text);
}

static void put_char(struct writer *w, char c) {
  const char *escape = escape_of(c);
  const char plain[] = {c, '\0'};
  if (w->column == 0 && c == '.')
    put(w, "\\&");
  if (c == '`')
    w->is_bold = !w->is_bold;
  if (c == '`' && !w->is_bold)
    escape = "\\fR";
  put(w, escape ? escape : plain);
}

static void end_line(struct writer *w) {
  fputc('\n', w->out);
  w->column = 0;
}

static size_t word_width(const char *text, size_t len) {
  size_t width = 0;
  for (size_t i = 0; i < len && text[i] != ' ' && text[i] != '\n'; i++)
    width += escape_of(text[i]) ? strlen(escape_of(text[i])) : 1;
  return width;
}

static bool ends_sentence(const char *text, const char *blank) {
  return blank > text + 1 && (blank[-1] == '.' || blank[-1] == ':');
}

static void put_filled(FILE *out, const char *text, size_t len) {
  struct writer w = {.out = out};
  for (size_t i = 0; i < len; i++) {
    if (text[i] != ' ' && text[i] != '\n')
      put_char(&w, text[i]);
    else if (w.column + 1 + word_width(text + i + 1, len - i - 1) > LINE_WIDTH ||
             ends_sentence(text, text + i))
      end_line(&w);
    else if (w.column > 0)
      put_char(&w, ' ');
  }
  if (w.column > 0)
    end_line(&w);
}

/* Without the blanks that mark such a paragraph. */
static void put_as_it_stands(FILE *out, const char *text, size_t len) {
  struct writer w = {.out = out};
  size_t indent = strspn(text, " ");
  size_t dropped = 0;
  fputs(".RS 4\n.nf\n", out);
  for (size_t i = 0; i < len; i++) {
    if (text[i] == '\n') {
      end_line(&w);
      dropped = 0;
    } else if (text[i] == ' ' && w.column == 0 && dropped < indent) {
      dropped++;
    } else {
      put_char(&w, text[i]);
    }
  }
  fputs("\n.fi\n.RE\n", out);
}

void roff_begin(FILE *out, const struct roff_title *title, const char *names, const char *summary) {
  fprintf(out, ".TH %s %s %s \"%s\"\n", title->name, title->section, title->date, title->source);
  roff_section(out, "NAME");
  struct writer w = {.out = out};
  for (const char *p = names; *p; p++)
    put_char(&w, *p);
  fputs(" \\- ", out);
  for (const char *p = summary; *p; p++)
    put_char(&w, *p);
  fputc('\n', out);
}

void roff_section(FILE *out, const char *name) {
  fprintf(out, ".SH %s\n", name);
}

void roff_subsection(FILE *out, const char *name) {
  fprintf(out, ".SS %s\n", name);
}

struct paragraph_writer {
  FILE *out;
  bool has_any;
};

static void put_paragraph(void *arg, const char *text, size_t len, bool is_literal) {
  struct paragraph_writer *w = arg;
  if (w->has_any)
    roff_break(w->out);
  w->has_any = true;
  if (is_literal)
    put_as_it_stands(w->out, text, len);
  else
    put_filled(w->out, text, len);
}

void roff_paragraphs(FILE *out, const char *text) {
  struct paragraph_writer w = {.out = out};
  paragraphs_each(text, put_paragraph, &w);
}

void roff_break(FILE *out) {
  fputs(".PP\n", out);
}

static void put_in_font(FILE *out, char font, const char *text) {
  struct writer w = {.out = out, .column = 1};
  fprintf(out, "\\f%c", font);
  for (; *text; text++)
    put_char(&w, *text);
  fputs("\\fR", out);
}

void roff_words(FILE *out, const char *bold, const char *italic) {
  if (bold)
    put_in_font(out, 'B', bold);
  if (bold && italic)
    fputc(' ', out);
  if (italic)
    put_in_font(out, 'I', italic);
  fputc('\n', out);
}

void roff_item(FILE *out) {
  fputs(".TP\n", out);
}

void roff_text(FILE *out, const char *text) {
  put_filled(out, text, strlen(text));
}
