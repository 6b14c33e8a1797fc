#include "grpc/wire.h"

/* A body buffer that grew beyond this is given back after its message. */
#define BODY_KEEP_BYTES ((size_t)64 * 1024)

#define TIMEOUT_MAX_DIGITS 8
#define TIMEOUT_MAX_VALUE  99999999

static const char upper_hex[] = "0123456789ABCDEF";

/* ---- codes ---- */

const char *grpc_code_name(int code) {
  static const char *const names[] = {
      "OK",
      "CANCELLED",
      "UNKNOWN",
      "INVALID_ARGUMENT",
      "DEADLINE_EXCEEDED",
      "NOT_FOUND",
      "ALREADY_EXISTS",
      "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED",
      "FAILED_PRECONDITION",
      "ABORTED",
      "OUT_OF_RANGE",
      "UNIMPLEMENTED",
      "INTERNAL",
      "UNAVAILABLE",
      "DATA_LOSS",
      "UNAUTHENTICATED",
  };
  if (code < 0 || (size_t)code >= sizeof(names) / sizeof(names[0]))
    return "UNKNOWN";
  return names[code];
}

/* ---- timeouts ---- */

/* Longest first; microseconds of each. Nanoseconds are below one and stand apart. */
static const struct timeout_unit {
  char letter;
  int64_t us;
} timeout_units[] = {
    {'H', 3600000000}, {'M', 60000000}, {'S', 1000000}, {'m', 1000}, {'u', 1},
};
#define TIMEOUT_UNITS ((int)(sizeof(timeout_units) / sizeof(timeout_units[0])))

static bool timeout_scale(char letter, int64_t value, int64_t *ret_us) {
  if (letter == 'n') {
    *ret_us = (value + 999) / 1000;
    return true;
  }
  for (int i = 0; i < TIMEOUT_UNITS; i++) {
    if (timeout_units[i].letter == letter) {
      *ret_us = value * timeout_units[i].us;
      return true;
    }
  }
  return false;
}

bool grpc_timeout_parse(struct str text, int64_t *ret_us) {
  if (text.len < 2 || text.len > TIMEOUT_MAX_DIGITS + 1)
    return false;
  int64_t value = 0;
  for (size_t i = 0; i + 1 < text.len; i++) {
    char c = text.data[i];
    if (c < '0' || c > '9')
      return false;
    value = value * 10 + (c - '0');
  }
  int64_t us = 0;
  if (!timeout_scale(text.data[text.len - 1], value, &us))
    return false;
  *ret_us = us < INT64_MAX / 4 ? us : INT64_MAX / 4;
  return true;
}

static void timeout_write(int64_t value, char letter, char ret_text[GRPC_TIMEOUT_TEXT_SIZE]) {
  char digits[TIMEOUT_MAX_DIGITS];
  size_t count = 0;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0 && count < sizeof(digits));
  for (size_t i = 0; i < count; i++)
    ret_text[i] = digits[count - 1 - i];
  ret_text[count] = letter;
  ret_text[count + 1] = '\0';
}

void grpc_timeout_format(int64_t us, char ret_text[GRPC_TIMEOUT_TEXT_SIZE]) {
  for (int i = 0; i < TIMEOUT_UNITS; i++) {
    int64_t unit = timeout_units[i].us;
    if (us % unit == 0 && us / unit <= TIMEOUT_MAX_VALUE) {
      timeout_write(us / unit, timeout_units[i].letter, ret_text);
      return;
    }
  }
  for (int i = TIMEOUT_UNITS - 1; i >= 0; i--) {
    int64_t unit = timeout_units[i].us;
    int64_t value = us / unit + (us % unit != 0);
    if (value <= TIMEOUT_MAX_VALUE) {
      timeout_write(value, timeout_units[i].letter, ret_text);
      return;
    }
  }
  timeout_write(TIMEOUT_MAX_VALUE, 'H', ret_text);
}

/* ---- grpc-message ---- */

static bool percent_encode(struct str bytes, struct buf *out) {
  for (size_t i = 0; i < bytes.len; i++) {
    uint8_t c = (uint8_t)bytes.data[i];
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      if (!buf_append(out, &c, 1))
        return false;
      continue;
    }
    const char escape[3] = {'%', upper_hex[c >> 4], upper_hex[c & 15]};
    if (!buf_append(out, escape, sizeof(escape)))
      return false;
  }
  return true;
}

static bool message_encode(struct str message, struct buf *out) {
  while (message.len > 0) {
    size_t valid = utf8_valid_prefix(message);
    if (!percent_encode(str_of(message.data, valid), out))
      return false;
    if (valid == message.len)
      return true;
    if (!buf_append_str(out, "%EF%BF%BD"))
      return false;
    message = str_of(message.data + valid + 1, message.len - valid - 1);
  }
  return true;
}

bool grpc_message_encode(struct str message, struct buf *out) {
  size_t before = buf_len(out);
  if (message_encode(message, out))
    return true;
  out->end = out->start + before;
  return false;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return -1;
}

bool grpc_message_decode(struct str text, struct buf *out) {
  if (text.len == 0)
    return true;
  uint8_t *to = buf_reserve(out, text.len);
  if (!to)
    return false;
  size_t len = 0;
  for (size_t i = 0; i < text.len; i++) {
    int high = -1;
    int low = -1;
    if (text.data[i] == '%' && text.len - i > 2) {
      high = hex_value(text.data[i + 1]);
      low = hex_value(text.data[i + 2]);
    }
    if (high >= 0 && low >= 0) {
      to[len++] = (uint8_t)(high << 4 | low);
      i += 2;
    } else {
      to[len++] = (uint8_t)text.data[i];
    }
  }
  buf_commit(out, len);
  return true;
}

/* ---- base64 ---- */

bool grpc_base64_encode(struct str bytes, struct buf *out) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (bytes.len == 0)
    return true;
  if (bytes.len > SIZE_MAX / 2)
    return false;
  size_t len = bytes.len / 3 * 4 + (bytes.len % 3 == 0 ? 0 : bytes.len % 3 + 1);
  uint8_t *to = buf_reserve(out, len);
  if (!to)
    return false;
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    bits = bits << 8 | (uint8_t)bytes.data[i];
    for (count += 8; count >= 6; count -= 6)
      *to++ = (uint8_t)alphabet[bits >> (count - 6) & 63];
  }
  if (count > 0)
    *to = (uint8_t)alphabet[bits << (6 - count) & 63];
  buf_commit(out, len);
  return true;
}

static int base64_value(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Takes the padding off; false when there is padding of the wrong length. */
static bool base64_strip_padding(struct str *text) {
  size_t len = text->len;
  while (len > 0 && text->len - len < 2 && text->data[len - 1] == '=')
    len--;
  if (len != text->len && text->len % 4 != 0)
    return false;
  text->len = len;
  return len % 4 != 1;
}

bool grpc_base64_decode(struct str text, struct buf *out) {
  if (!base64_strip_padding(&text))
    return false;
  if (text.len == 0)
    return true;
  uint8_t *to = buf_reserve(out, text.len / 4 * 3 + 2);
  if (!to)
    return false;
  size_t len = 0;
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = 0; i < text.len; i++) {
    int value = base64_value(text.data[i]);
    if (value < 0)
      return false;
    bits = bits << 6 | (uint32_t)value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      to[len++] = (uint8_t)(bits >> count);
    }
  }
  buf_commit(out, len);
  return true;
}

/* ---- metadata keys ---- */

/* What gRPC or HTTP/2 set themselves, and what HTTP/2 forbids (RFC 9113, 8.2.2). */
static bool key_is_reserved(struct str key) {
  return str_is(key, "te") || str_is(key, "user-agent") || str_is(key, "content-type") ||
         str_is(key, "content-length") || str_is(key, "host") || str_is(key, "connection") ||
         str_is(key, "keep-alive") || str_is(key, "proxy-connection") ||
         str_is(key, "transfer-encoding") || str_is(key, "upgrade") ||
         (key.len >= 5 && memcmp(key.data, "grpc-", 5) == 0);
}

/* The reserved first: most of a request's fields are. */
bool grpc_metadata_key_is_valid(struct str key) {
  if (key.len == 0 || key_is_reserved(key))
    return false;
  for (size_t i = 0; i < key.len; i++) {
    char c = key.data[i];
    bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_' || c == '.' || c == '-';
    if (!ok)
      return false;
  }
  return true;
}

/* ---- deframer ---- */

void grpc_deframer_init(struct grpc_deframer *d, size_t max_body_bytes) {
  grpc_deframer_init_counted(d, max_body_bytes, NULL);
}

void grpc_deframer_init_counted(struct grpc_deframer *d, size_t max_body_bytes,
                                struct budget *budget) {
  *d = (struct grpc_deframer){.max_body_bytes = max_body_bytes};
  buf_init_counted(&d->body, max_body_bytes, budget);
}

void grpc_deframer_deinit(struct grpc_deframer *d) {
  buf_deinit(&d->body);
}

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

static void take_prefix(struct grpc_deframer *d, const uint8_t **data, size_t *len) {
  size_t n = min_size(GRPC_PREFIX_BYTES - d->prefix_len, *len);
  if (n == 0)
    return;
  memcpy(d->prefix + d->prefix_len, *data, n);
  d->prefix_len += n;
  *data += n;
  *len -= n;
  const uint8_t *p = d->prefix;
  if (d->prefix_len == GRPC_PREFIX_BYTES)
    d->body_len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

/* Memory follows the bytes that came, not the length that the peer states. */
static bool take_body(struct grpc_deframer *d, const uint8_t **data, size_t *len) {
  size_t n = min_size(d->body_len - buf_len(&d->body), *len);
  if (n == 0)
    return true;
  if (!buf_append(&d->body, *data, n))
    return false;
  *data += n;
  *len -= n;
  return true;
}

enum grpc_deframe_result grpc_deframer_feed(struct grpc_deframer *d, const uint8_t **data,
                                            size_t *len) {
  take_prefix(d, data, len);
  if (d->prefix_len < GRPC_PREFIX_BYTES)
    return GRPC_DEFRAME_MORE;
  if (d->prefix[0] > 1)
    return GRPC_DEFRAME_BAD_FLAG;
  if (d->prefix[0] == 1 && !d->may_be_compressed)
    return GRPC_DEFRAME_COMPRESSED;
  if (d->body_len > d->max_body_bytes)
    return GRPC_DEFRAME_TOO_LARGE;
  d->body.max_bytes = d->body_len;
  if (!take_body(d, data, len))
    return GRPC_DEFRAME_NO_MEMORY;
  return buf_len(&d->body) == d->body_len ? GRPC_DEFRAME_MESSAGE : GRPC_DEFRAME_MORE;
}

void grpc_deframer_next(struct grpc_deframer *d) {
  d->prefix_len = 0;
  d->body_len = 0;
  if (d->body.cap > BODY_KEEP_BYTES)
    buf_deinit(&d->body);
  else
    buf_clear(&d->body);
}

bool grpc_deframer_is_partial(const struct grpc_deframer *d) {
  return d->prefix_len > 0 &&
         (d->prefix_len < GRPC_PREFIX_BYTES || buf_len(&d->body) < d->body_len);
}
