/*
 * metadata: a list of fields, in order, packed into one buffer: what a peer sent with its call, or
 * what a handler sends with its answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Embedded by its owner; zeroed before first use. */
struct grpc_metadata {
  struct buf fields;
  size_t count;
};

/* Of one list, keys and values. */
#define GRPC_METADATA_MAX_BYTES ((size_t)16 * 1024)

/* Copies. False when the list is full. Pointers into the list are invalid afterwards. */
bool grpc_metadata_add(struct grpc_metadata *m, struct str key, struct str value);

/* The field at *offset, which starts at 0 and moves on to the next. False behind the last. */
bool grpc_metadata_next(const struct grpc_metadata *m, size_t *offset, struct str *ret_key,
                        struct str *ret_value);

void grpc_metadata_deinit(struct grpc_metadata *m);

/* A request's field. The values of a key that ends in "-bin" are decoded, each of those that were
 * joined with commas by itself. False: malformed, or full. */
bool grpc_metadata_take(struct grpc_metadata *m, struct str key, struct str value);

/* A response's field: the value of a key that ends in "-bin" is encoded. False: the key or the
 * value isn't one that may be sent, or the list is full. */
bool grpc_metadata_put(struct grpc_metadata *m, struct str key, struct str value);
