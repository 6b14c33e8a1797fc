#include "text.h"

#include <stdlib.h>
#include <string.h>

static size_t sequence_length(unsigned char lead) {
  if (lead < 0x80)
    return 1;
  if (lead >= 0xC2 && lead < 0xE0)
    return 2;
  if (lead >= 0xE0 && lead < 0xF0)
    return 3;
  if (lead >= 0xF0 && lead < 0xF5)
    return 4;
  return 0;
}

uint32_t text_next(const char **text) {
  static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  const unsigned char *bytes = (const unsigned char *)*text;
  size_t length = sequence_length(bytes[0]);
  uint32_t code_point = length ? bytes[0] & lead_bits[length] : TEXT_REPLACEMENT;
  for (size_t i = 1; i < length; i++) {
    if ((bytes[i] & 0xC0) != 0x80) {
      *text += i;
      return TEXT_REPLACEMENT;
    }
    code_point = code_point << 6 | (bytes[i] & 0x3FU);
  }
  *text += length ? length : 1;
  return code_point;
}

/* Unicode 15: what controls (Cc), formats (Cf), breaks lines (Zl, Zp), or is meant not to be seen
 * (Default_Ignorable_Code_Point). */
static const struct {
  uint32_t first, last;
} unsafe[] = {
    {0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x034F, 0x034F},
    {0x0600, 0x0605},   {0x061C, 0x061C},   {0x06DD, 0x06DD},   {0x070F, 0x070F},
    {0x0890, 0x0891},   {0x08E2, 0x08E2},   {0x115F, 0x1160},   {0x17B4, 0x17B5},
    {0x180B, 0x180F},   {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},
    {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F},
    {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

bool text_is_unsafe(uint32_t c) {
  for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]) && unsafe[i].first <= c; i++)
    if (c <= unsafe[i].last)
      return true;
  return false;
}

void text_escape_of(uint32_t c, char ret_escape[TEXT_ESCAPE_SIZE]) {
  uint32_t beyond = c - 0x10000;
  if (c < 0x10000)
    snprintf(ret_escape, TEXT_ESCAPE_SIZE, "\\u%04x", (unsigned)c);
  else
    snprintf(ret_escape, TEXT_ESCAPE_SIZE, "\\u%04x\\u%04x",
             (unsigned)(0xD800 | (beyond >> 10 & 0x3FF)), (unsigned)(0xDC00 | (beyond & 0x3FF)));
}

void text_print_next(FILE *out, const char **text) {
  char escape[TEXT_ESCAPE_SIZE];
  const char *start = *text;
  uint32_t code_point = text_next(text);
  if (text_is_unsafe(code_point)) {
    text_escape_of(code_point, escape);
    fputs(escape, out);
  } else if (code_point == TEXT_REPLACEMENT) {
    fputs(TEXT_REPLACEMENT_UTF8, out);
  } else {
    fwrite(start, 1, (size_t)(*text - start), out);
  }
}

void text_print_escaped(FILE *out, const char *text) {
  while (*text)
    text_print_next(out, &text);
}

char *text_escape(const char *text) {
  char *escaped = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&escaped, &len);
  if (!out)
    return NULL;
  text_print_escaped(out, text);
  if (fclose(out) == 0)
    return escaped;
  free(escaped);
  return NULL;
}

size_t text_width(const char *text) {
  size_t width = 0;
  while (*text) {
    text_next(&text);
    width++;
  }
  return width;
}

void text_print_cell(FILE *out, const char *text, size_t width, int is_padded) {
  size_t full = text_width(text);
  size_t shown = full <= width ? full : width - 1;
  const char *end = text;
  for (size_t i = 0; i < shown; i++)
    text_next(&end);
  fwrite(text, 1, (size_t)(end - text), out);
  if (full > width)
    fputs("\xE2\x80\xA6", out);
  for (size_t i = full; is_padded && i < width; i++)
    fputc(' ', out);
}
