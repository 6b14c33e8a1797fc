#include "base/str.h"

struct str str_trim(struct str s) {
  while (s.len > 0 && s.data[0] == ' ')
    s = str_of(s.data + 1, s.len - 1);
  while (s.len > 0 && s.data[s.len - 1] == ' ')
    s.len--;
  return s;
}

struct str str_cut(struct str *rest, char separator) {
  struct str part = *rest;
  const char *at = part.len > 0 ? memchr(part.data, separator, part.len) : NULL;
  if (at)
    part.len = (size_t)(at - part.data);
  size_t taken = at ? part.len + 1 : part.len;
  *rest = str_of(rest->data + taken, rest->len - taken);
  return part;
}

bool str_cut_line(struct str *rest, struct str *ret_line) {
  if (rest->len == 0 || !memchr(rest->data, '\n', rest->len))
    return false;
  *ret_line = str_cut(rest, '\n');
  return true;
}

bool str_cut_number(struct str *rest, int64_t *ret_number) {
  int64_t number = 0;
  size_t i = 0;
  for (; i < rest->len && rest->data[i] >= '0' && rest->data[i] <= '9'; i++)
    if (__builtin_mul_overflow(number, 10, &number) ||
        __builtin_add_overflow(number, rest->data[i] - '0', &number))
      return false;
  if (i == 0)
    return false;
  *rest = str_of(rest->data + i, rest->len - i);
  *ret_number = number;
  return true;
}

/* The length of the valid sequence that begins at p, or 0. RFC 3629, section 4. */
static size_t utf8_sequence(const uint8_t *p, size_t left) {
  uint8_t lead = p[0];
  if (lead < 0x80)
    return 1;
  size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || left < len)
    return 0;
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (lead == 0xe0)
    low = 0xa0; /* overlong */
  else if (lead == 0xed)
    high = 0x9f; /* surrogates */
  else if (lead == 0xf0)
    low = 0x90; /* overlong */
  else if (lead == 0xf4)
    high = 0x8f; /* above U+10FFFF */
  if (p[1] < low || p[1] > high)
    return 0;
  for (size_t i = 2; i < len; i++)
    if (p[i] < 0x80 || p[i] > 0xbf)
      return 0;
  return len;
}

size_t utf8_valid_prefix(struct str s) {
  const uint8_t *p = (const uint8_t *)s.data;
  size_t i = 0;
  while (i < s.len) {
    uint64_t word;
    /* Eight ASCII bytes at a time: nearly all text of events is ASCII. */
    while (s.len - i >= sizeof(word)) {
      memcpy(&word, p + i, sizeof(word));
      if (word & 0x8080808080808080ULL)
        break;
      i += sizeof(word);
    }
    if (i == s.len)
      break;
    size_t len = utf8_sequence(p + i, s.len - i);
    if (len == 0)
      break;
    i += len;
  }
  return i;
}

bool utf8_is_storable(struct str s) {
  return s.len == 0 || (!memchr(s.data, 0, s.len) && utf8_valid_prefix(s) == s.len);
}
