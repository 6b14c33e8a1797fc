/* How a call ended: codes, texts, trailers. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server's texts and details are bounded by the header list, so these only stop nonsense. */
#define MAX_TEXT_BYTES (64 * 1024)
#define MAX_TRAILERS   64

void auditstore_status_deinit(struct auditstore_status *status) {
  if (!status)
    return;
  for (size_t i = 0; i < status->trailer_count; i++) {
    free((char *)status->trailers[i].key);
    free((char *)status->trailers[i].value);
  }
  free(status->trailers);
  free(status->message);
  free(status->details);
  *status = (struct auditstore_status){0};
}

const char *auditstore_code_name(enum auditstore_code code) {
  return grpc_code_name((int)code);
}

void status_set(struct auditstore_status *status, enum auditstore_code code, const char *format,
                ...) {
  auditstore_status_deinit(status);
  status->code = code;
  va_list args;
  va_start(args, format);
  if (vasprintf(&status->message, format, args) < 0)
    status->message = NULL;
  va_end(args);
}

enum auditstore_code status_move(struct auditstore_status *from, struct auditstore_status *to) {
  enum auditstore_code code = from->code;
  if (to) {
    auditstore_status_deinit(to);
    *to = *from;
    *from = (struct auditstore_status){0};
  } else {
    auditstore_status_deinit(from);
  }
  return code;
}

/* ---- headers ---- */

/* The content of a buf as memory of its own, with a NUL behind it. NULL: out of memory. */
static char *take_text(struct buf *b, size_t *ret_len) {
  char *text = malloc(buf_len(b) + 1);
  if (text) {
    memcpy(text, buf_len(b) ? (const void *)buf_bytes(b) : "", buf_len(b));
    text[buf_len(b)] = '\0';
    *ret_len = buf_len(b);
  }
  buf_deinit(b);
  return text;
}

static char *decode_value(struct str name, struct str value, size_t *ret_len) {
  struct buf decoded;
  buf_init(&decoded, MAX_TEXT_BYTES);
  bool is_binary = name.len > 4 && memcmp(name.data + name.len - 4, "-bin", 4) == 0;
  bool ok =
      is_binary ? grpc_base64_decode(value, &decoded) : buf_append(&decoded, value.data, value.len);
  if (ok)
    return take_text(&decoded, ret_len);
  buf_deinit(&decoded);
  return NULL;
}

static void add_trailer(struct auditstore_status *status, struct str name, struct str value) {
  if (status->trailer_count == MAX_TRAILERS)
    return;
  struct auditstore_metadata *grown =
      realloc(status->trailers, (status->trailer_count + 1) * sizeof(*grown));
  if (!grown)
    return;
  status->trailers = grown;
  size_t len = 0;
  char *key = strndup(name.data, name.len);
  char *text = decode_value(name, value, &len);
  if (!key || !text) {
    free(key);
    free(text);
    return;
  }
  grown[status->trailer_count++] =
      (struct auditstore_metadata){.key = key, .value = text, .value_len = len};
}

static void set_message(struct auditstore_status *status, struct str value) {
  struct buf decoded;
  size_t len = 0;
  buf_init(&decoded, MAX_TEXT_BYTES);
  free(status->message);
  grpc_message_decode(value, &decoded);
  status->message = take_text(&decoded, &len);
}

static enum auditstore_code parse_code(struct str value) {
  int code = 0;
  if (value.len == 0 || value.len > 2)
    return AUDITSTORE_UNKNOWN;
  for (size_t i = 0; i < value.len; i++) {
    if (value.data[i] < '0' || value.data[i] > '9')
      return AUDITSTORE_UNKNOWN;
    code = code * 10 + (value.data[i] - '0');
  }
  return code <= AUDITSTORE_UNAUTHENTICATED ? (enum auditstore_code)code : AUDITSTORE_UNKNOWN;
}

void status_take_header(struct auditstore_status *status, struct str name, struct str value) {
  if (str_is(name, "grpc-status")) {
    status->is_from_server = 1;
    status->code = parse_code(value);
  } else if (str_is(name, "grpc-message")) {
    set_message(status, value);
  } else if (str_is(name, "grpc-status-details-bin")) {
    size_t len = 0;
    free(status->details);
    status->details = (uint8_t *)decode_value(name, value, &len);
    status->details_len = status->details ? len : 0;
  } else if (name.len > 0 && name.data[0] != ':' && !str_is(name, "content-type") &&
             !(name.len > 5 && memcmp(name.data, "grpc-", 5) == 0)) {
    add_trailer(status, name, value);
  }
}

/* ---- codes ---- */

enum auditstore_code code_of_http_status(int http_status) {
  switch (http_status) {
  case 400:
    return AUDITSTORE_INTERNAL;
  case 401:
    return AUDITSTORE_UNAUTHENTICATED;
  case 403:
    return AUDITSTORE_PERMISSION_DENIED;
  case 404:
    return AUDITSTORE_UNIMPLEMENTED;
  case 429:
  case 502:
  case 503:
  case 504:
    return AUDITSTORE_UNAVAILABLE;
  default:
    return AUDITSTORE_UNKNOWN;
  }
}

enum auditstore_code code_of_http2_error(uint32_t http2_error) {
  switch (http2_error) {
  case NGHTTP2_REFUSED_STREAM:
    return AUDITSTORE_UNAVAILABLE;
  case NGHTTP2_CANCEL:
    return AUDITSTORE_CANCELLED;
  case NGHTTP2_ENHANCE_YOUR_CALM:
    return AUDITSTORE_RESOURCE_EXHAUSTED;
  case NGHTTP2_INADEQUATE_SECURITY:
    return AUDITSTORE_PERMISSION_DENIED;
  default:
    return AUDITSTORE_INTERNAL;
  }
}
