/*
 * wire: the text and byte forms of gRPC over HTTP/2 that both ends share. No I/O, no allocation
 * beyond the buffers passed in. Also compiled into libauditstore.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* Flag byte and big-endian length before each message. */
#define GRPC_PREFIX_BYTES 5

enum grpc_code {
  GRPC_OK = 0,
  GRPC_CANCELLED = 1,
  GRPC_UNKNOWN = 2,
  GRPC_INVALID_ARGUMENT = 3,
  GRPC_DEADLINE_EXCEEDED = 4,
  GRPC_NOT_FOUND = 5,
  GRPC_ALREADY_EXISTS = 6,
  GRPC_PERMISSION_DENIED = 7,
  GRPC_RESOURCE_EXHAUSTED = 8,
  GRPC_FAILED_PRECONDITION = 9,
  GRPC_ABORTED = 10,
  GRPC_OUT_OF_RANGE = 11,
  GRPC_UNIMPLEMENTED = 12,
  GRPC_INTERNAL = 13,
  GRPC_UNAVAILABLE = 14,
  GRPC_DATA_LOSS = 15,
  GRPC_UNAUTHENTICATED = 16,
};

/* "INVALID_ARGUMENT"; "UNKNOWN" for numbers outside 0..16. */
const char *grpc_code_name(int code);

/* Parses grpc-timeout: 1 to 8 digits and one of H M S m u n. Anything else is false. Clamped to
 * INT64_MAX / 4 microseconds; nanoseconds are rounded up. */
bool grpc_timeout_parse(struct str text, int64_t *ret_us);

/* Writes the shortest exact or rounded-up form of `us` (0 or more) and a NUL. */
#define GRPC_TIMEOUT_TEXT_SIZE 10
void grpc_timeout_format(int64_t us, char ret_text[GRPC_TIMEOUT_TEXT_SIZE]);

/* Appends `message` percent-encoded for grpc-message: bytes outside 0x20..0x7E and '%' become %XX;
 * invalid UTF-8 becomes U+FFFD first. False when `out` is full. */
bool grpc_message_encode(struct str message, struct buf *out);

/* The reverse, lenient: what isn't a valid escape stays as it is. */
bool grpc_message_decode(struct str text, struct buf *out);

/* Base64 for "-bin" metadata: emits no padding, accepts it with or without. */
bool grpc_base64_encode(struct str bytes, struct buf *out);
bool grpc_base64_decode(struct str text, struct buf *out); /* false: malformed, or `out` is full */

/* Whether a metadata key is one that users may send: [0-9a-z_.-]+, not empty, not reserved. */
bool grpc_metadata_key_is_valid(struct str key);

/* Takes messages out of a stream of bytes split anywhere. */
struct grpc_deframer {
  uint8_t prefix[GRPC_PREFIX_BYTES];
  size_t prefix_len; /* of it seen */
  struct buf body;   /* of the message under assembly */
  size_t body_len;   /* its stated length, once the prefix is complete */
  size_t max_body_bytes;
  bool may_be_compressed; /* an encoding was agreed */
};

enum grpc_deframe_result {
  GRPC_DEFRAME_MORE,    /* all input taken, no message complete */
  GRPC_DEFRAME_MESSAGE, /* a message is complete: body; call grpc_deframer_next() before going on */
  GRPC_DEFRAME_TOO_LARGE,  /* the stated length is above the maximum */
  GRPC_DEFRAME_NO_MEMORY,  /* there is none for what came */
  GRPC_DEFRAME_COMPRESSED, /* flag 1, and no encoding was agreed */
  GRPC_DEFRAME_BAD_FLAG,   /* flag 2 or more */
};

void grpc_deframer_init(struct grpc_deframer *d, size_t max_body_bytes);

/* The same; the body's memory is taken from `budget`, which outlives it. */
void grpc_deframer_init_counted(struct grpc_deframer *d, size_t max_body_bytes,
                                struct budget *budget);
void grpc_deframer_deinit(struct grpc_deframer *d);

/* Takes bytes from *data until a message is complete or they are used up; moves *data and *len on.
 * After an error the deframer takes nothing more. */
enum grpc_deframe_result grpc_deframer_feed(struct grpc_deframer *d, const uint8_t **data,
                                            size_t *len);

/* Of the complete message. */
static inline bool grpc_deframer_is_compressed(const struct grpc_deframer *d) {
  return d->prefix[0] == 1;
}

/* Forgets the complete message. */
void grpc_deframer_next(struct grpc_deframer *d);

/* True in the middle of a prefix or a body: the end of the stream here means truncation. */
bool grpc_deframer_is_partial(const struct grpc_deframer *d);
