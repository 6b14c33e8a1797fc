/*
 * gzip: one message compressed or inflated by itself (RFC 1952), by zlib. Loop thread only.
 *
 * The state of zlib, some 300 KiB, is made at first use and kept: making it anew for each message
 * costs more than compressing a short one.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

struct grpc_gzip; /* opaque; owned by the caller of _new */

struct grpc_gzip *grpc_gzip_new(void);
void grpc_gzip_free(struct grpc_gzip *gzip);

/* Appends `in` compressed. False when `out` is full. */
bool grpc_gzip_compress(struct grpc_gzip *gzip, struct str in, struct buf *out);

enum grpc_inflate_result {
  GRPC_INFLATE_OK,
  GRPC_INFLATE_TOO_LARGE, /* `out` is full: more would come */
  GRPC_INFLATE_BAD,       /* not one whole gzip member and nothing else */
};

/* Appends what `in` holds. Memory follows what was inflated, up to the maximum of `out`. */
enum grpc_inflate_result grpc_gzip_inflate(struct grpc_gzip *gzip, struct str in, struct buf *out);
