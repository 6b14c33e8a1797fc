#include "base/json_text.h"

/* One character, `len` bytes of valid UTF-8. Control characters of both ranges are escaped:
 * terminals obey them. */
static bool put_char(struct buf *out, const char *p, size_t len) {
  uint8_t c = (uint8_t)p[0];
  if (c == '"' || c == '\\')
    return buf_append_format(out, "\\%c", c);
  if (c == '\n')
    return buf_append_str(out, "\\n");
  if (c < 0x20 || c == 0x7f)
    return buf_append_format(out, "\\u%04x", c);
  if (c == 0xc2 && (uint8_t)p[1] < 0xa0)
    return buf_append_format(out, "\\u%04x", (uint8_t)p[1]);
  return buf_append(out, p, len);
}

static size_t char_len(const char *p) {
  uint8_t c = (uint8_t)*p;
  return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

bool json_text_append(struct buf *out, struct str text) {
  struct str rest = text;
  while (rest.len > 0) {
    size_t valid = utf8_valid_prefix(rest);
    for (size_t i = 0; i < valid; i += char_len(rest.data + i))
      if (!put_char(out, rest.data + i, char_len(rest.data + i)))
        return false;
    rest = str_of(rest.data + valid, rest.len - valid);
    if (rest.len > 0) {
      if (!buf_append_str(out, "\xef\xbf\xbd"))
        return false;
      rest = str_of(rest.data + 1, rest.len - 1);
    }
  }
  return true;
}
