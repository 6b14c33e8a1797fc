/*
 * gzip: one message compressed or inflated by itself (RFC 1952), by zlib. Also compiled into
 * libauditstore.
 *
 * The state of zlib, some 300 KiB, is made at first use and kept: making it anew for each message
 * costs more than compressing a short one. One thread may compress while another inflates.
 */
#pragma once

#include <stdbool.h>
#include <zlib.h>

#include "base/buf.h"

/* A zeroed one is fine. */
struct grpc_gzip {
  z_stream deflater;
  z_stream inflater;
  bool has_deflater;
  bool has_inflater;
};

void grpc_gzip_deinit(struct grpc_gzip *gzip);

/* Appends `in` compressed. False when `out` is full, or out of memory. */
bool grpc_gzip_compress(struct grpc_gzip *gzip, struct str in, struct buf *out);

enum grpc_inflate_result {
  GRPC_INFLATE_OK,
  GRPC_INFLATE_TOO_LARGE, /* `out` is full: more would come */
  GRPC_INFLATE_BAD,       /* not one whole gzip member and nothing else */
  GRPC_INFLATE_NO_MEMORY,
};

/* Appends what `in` holds. Memory follows what was inflated, up to the maximum of `out`. */
enum grpc_inflate_result grpc_gzip_inflate(struct grpc_gzip *gzip, struct str in, struct buf *out);
