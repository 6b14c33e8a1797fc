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

int text_is_unsafe(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void text_print_escaped(FILE *out, const char *text) {
  while (*text) {
    const char *start = text;
    uint32_t code_point = text_next(&text);
    if (text_is_unsafe(code_point))
      fprintf(out, "\\u%04x", (unsigned)code_point);
    else if (code_point == TEXT_REPLACEMENT)
      fputs(TEXT_REPLACEMENT_UTF8, out);
    else
      fwrite(start, 1, (size_t)(text - start), out);
  }
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
