#include "base/quote.h"

static const char cut_end[] = "...\"";

static size_t put_byte(uint8_t byte, char *out) {
  static const char digits[] = "0123456789abcdef";
  if (byte < 0x20 || byte > 0x7e) {
    const char escaped[] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    memcpy(out, escaped, sizeof(escaped));
    return sizeof(escaped);
  }
  size_t len = 0;
  if (byte == '"' || byte == '\\')
    out[len++] = '\\';
  out[len++] = (char)byte;
  return len;
}

const char *quote(struct str text, char ret_quoted[QUOTE_SIZE]) {
  size_t at = 0;
  ret_quoted[at++] = '"';
  for (size_t i = 0; i < text.len; i++) {
    char shown[4];
    size_t len = put_byte((uint8_t)text.data[i], shown);
    if (at + len + sizeof(cut_end) > QUOTE_SIZE) {
      memcpy(ret_quoted + at, cut_end, sizeof(cut_end));
      return ret_quoted;
    }
    memcpy(ret_quoted + at, shown, len);
    at += len;
  }
  ret_quoted[at++] = '"';
  ret_quoted[at] = '\0';
  return ret_quoted;
}
