#include "grpc/fields.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

enum { METHOD = 1, SCHEME = 2, PATH = 4, AUTHORITY = 8 };

static void set_fault(struct grpc_fields *fields, const char *text) {
  if (!fields->fault)
    fields->fault = text;
}

static bool has_capitals(struct str name) {
  for (size_t i = 0; i < name.len; i++) {
    if (name.data[i] >= 'A' && name.data[i] <= 'Z')
      return true;
  }
  return false;
}

static bool is_value(struct str value) {
  return nghttp2_check_header_value((const uint8_t *)value.data, value.len) != 0;
}

/* ---- pseudo-header fields ---- */

static unsigned pseudo_of(struct str name) {
  if (str_is(name, ":method"))
    return METHOD;
  if (str_is(name, ":scheme"))
    return SCHEME;
  if (str_is(name, ":path"))
    return PATH;
  return str_is(name, ":authority") ? AUTHORITY : 0;
}

static bool is_pseudo_value(unsigned bit, struct str value) {
  const uint8_t *data = (const uint8_t *)value.data;
  if (bit == METHOD)
    return nghttp2_check_method(data, value.len) != 0;
  if (bit == PATH)
    return value.len > 0 && (data[0] == '/' || str_is(value, "*")) &&
           nghttp2_check_path(data, value.len) != 0;
  if (bit == AUTHORITY)
    return true; /* is_host_bad tells */
  return value.len > 0 && is_value(value);
}

/* Clients of a socket of Unix send its path, which isn't a host. */
static void take_authority(struct grpc_fields *fields, struct str value) {
  fields->has_host |= value.len > 0;
  fields->is_host_bad = !nghttp2_check_authority((const uint8_t *)value.data, value.len);
}

static bool take_pseudo(struct grpc_fields *fields, struct str name, struct str value) {
  unsigned bit = pseudo_of(name);
  if (bit == 0)
    set_fault(fields, "an unknown pseudo-header field");
  else if (fields->has_regular)
    set_fault(fields, "a pseudo-header field behind others");
  else if (fields->pseudo & bit)
    set_fault(fields, "a pseudo-header field twice");
  else if (!is_pseudo_value(bit, value))
    set_fault(fields, "a pseudo-header field with a value that it can't have");
  fields->pseudo |= bit;
  if (bit == AUTHORITY)
    take_authority(fields, value);
  return !fields->fault;
}

/* ---- others ---- */

static bool parse_length(struct str text, uint64_t *ret_length) {
  uint64_t length = 0;
  for (size_t i = 0; i < text.len; i++) {
    if (text.data[i] < '0' || text.data[i] > '9' || length > UINT64_MAX / 100)
      return false;
    length = length * 10 + (uint64_t)(text.data[i] - '0');
  }
  *ret_length = length;
  return text.len > 0;
}

static void take_length(struct grpc_fields *fields, struct str value) {
  if (fields->has_length || !parse_length(value, &fields->length))
    set_fault(fields, "content-length twice, or no number");
  fields->has_length = true;
}

/* RFC 9113, 8.2.2: it is about a connection of HTTP/1. */
static bool is_of_connection(struct str name) {
  return str_is(name, "connection") || str_is(name, "proxy-connection") ||
         str_is(name, "keep-alive") || str_is(name, "transfer-encoding") || str_is(name, "upgrade");
}

static bool take_regular(struct grpc_fields *fields, struct str name, struct str value) {
  fields->has_regular = true;
  bool is_host = str_is(name, "host");
  bool is_name = nghttp2_check_header_name((const uint8_t *)name.data, name.len) != 0;
  if (name.len == 0 || (!is_name && has_capitals(name)))
    set_fault(fields, "a field's name that is empty or has capital letters");
  else if (is_of_connection(name))
    set_fault(fields, "a field about the connection, as of HTTP/1");
  else if (is_host && fields->has_host_field)
    set_fault(fields, "host twice");
  else if (str_is(name, "te") && !str_is(str_trim(value), "trailers"))
    set_fault(fields, "te with another value than trailers");
  else if (str_is(name, "content-length"))
    take_length(fields, value);
  if (fields->fault || !is_name || !is_value(value))
    return false;
  fields->has_host_field |= is_host;
  fields->has_host |= is_host && value.len > 0;
  return true;
}

static bool is_pseudo(struct str name) {
  return name.len > 0 && name.data[0] == ':';
}

bool grpc_fields_take(struct grpc_fields *fields, struct str name, struct str value) {
  return is_pseudo(name) ? take_pseudo(fields, name, value) : take_regular(fields, name, value);
}

void grpc_fields_complete(struct grpc_fields *fields) {
  const unsigned needed = METHOD | SCHEME | PATH;
  if ((fields->pseudo & needed) != needed)
    set_fault(fields, ":method, :scheme or :path is missing");
}

void grpc_fields_take_trailer(struct grpc_fields *fields, struct str name) {
  if (is_pseudo(name))
    set_fault(fields, "a pseudo-header field in the trailers");
  else if (name.len == 0 || has_capitals(name))
    set_fault(fields, "a field's name that is empty or has capital letters");
  else if (is_of_connection(name))
    set_fault(fields, "a field about the connection, as of HTTP/1");
}

void grpc_fields_end_early(struct grpc_fields *fields) {
  set_fault(fields, "trailers that don't end the request");
}

void grpc_fields_end(struct grpc_fields *fields) {
  if (fields->has_length && fields->length != fields->received)
    set_fault(fields, "another length than content-length states");
}
