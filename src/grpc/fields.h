/*
 * fields: whether a request's header fields are ones that HTTP/2 allows (RFC 9113, 8.1 to 8.3).
 *
 * nghttp2 can judge that itself, but then resets a stream without a word where a peer, such as a
 * proxy's check that names no host, should be told what is wrong with its request.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Embedded by its owner; zeroed before first use. */
struct grpc_fields {
  unsigned pseudo; /* those seen */
  bool has_regular;
  bool has_host_field;
  bool has_host;    /* by ":authority" or "host" */
  bool is_host_bad; /* ":authority" is none */
  bool has_length;
  uint64_t length;   /* that "content-length" states */
  uint64_t received; /* bytes of DATA */
  const char *fault; /* static; the first that was found; NULL: none */
};

/* Takes one field of the request's headers. False: it has no meaning and is to be passed over, or
 * `fault` is set. */
bool grpc_fields_take(struct grpc_fields *fields, struct str name, struct str value);

/* The headers are complete: what is missing becomes the fault. */
void grpc_fields_complete(struct grpc_fields *fields);

/* A field behind the request's body. */
void grpc_fields_take_trailer(struct grpc_fields *fields, struct str name);

/* The trailers are complete, and more of the request follows. */
void grpc_fields_end_early(struct grpc_fields *fields);

/* The request is complete. */
void grpc_fields_end(struct grpc_fields *fields);
