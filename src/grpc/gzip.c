#include "grpc/gzip.h"

/* zlib's own numbers: the largest window, in gzip's format, and the memory it advises. */
#define GZIP_WINDOW_BITS (15 + 16)
#define GZIP_MEMORY      8
#define STEP_BYTES       ((size_t)16 * 1024)

void grpc_gzip_deinit(struct grpc_gzip *gzip) {
  if (gzip->has_deflater)
    (void)deflateEnd(&gzip->deflater);
  if (gzip->has_inflater)
    (void)inflateEnd(&gzip->inflater);
  *gzip = (struct grpc_gzip){.has_deflater = false};
}

static void set_input(z_stream *z, struct str in) {
  z->next_in = (Bytef *)in.data;
  z->avail_in = (uInt)in.len;
}

/* Room for a step in `out`; less when it is nearly full; false when it is. */
static bool set_output(z_stream *z, struct buf *out) {
  size_t left = out->max_bytes - buf_len(out);
  size_t step = left < STEP_BYTES ? left : STEP_BYTES;
  z->next_out = step > 0 ? buf_reserve(out, step) : NULL;
  z->avail_out = (uInt)step;
  return z->next_out != NULL;
}

/* ---- compressing ---- */

/* NULL: out of memory. */
static z_stream *deflater(struct grpc_gzip *gzip) {
  z_stream *z = &gzip->deflater;
  int rc = gzip->has_deflater ? deflateReset(z)
                              : deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS,
                                             GZIP_MEMORY, Z_DEFAULT_STRATEGY);
  if (rc != Z_OK)
    return NULL;
  gzip->has_deflater = true;
  return z;
}

bool grpc_gzip_compress(struct grpc_gzip *gzip, struct str in, struct buf *out) {
  z_stream *z = deflater(gzip);
  int rc = Z_OK;
  if (!z)
    return false;
  set_input(z, in);
  while (rc == Z_OK) {
    if (!set_output(z, out))
      return false;
    size_t room = z->avail_out;
    rc = deflate(z, Z_FINISH);
    buf_commit(out, room - z->avail_out);
  }
  return rc == Z_STREAM_END;
}

/* ---- inflating ---- */

static z_stream *inflater(struct grpc_gzip *gzip) {
  z_stream *z = &gzip->inflater;
  int rc = gzip->has_inflater ? inflateReset(z) : inflateInit2(z, GZIP_WINDOW_BITS);
  if (rc != Z_OK)
    return NULL;
  gzip->has_inflater = true;
  return z;
}

/* Whether anything is left when `out` is full: the end may be all that is missing. */
static enum grpc_inflate_result probe_end(z_stream *z) {
  Bytef byte = 0;
  z->next_out = &byte;
  z->avail_out = 1;
  int rc = inflate(z, Z_NO_FLUSH);
  if (z->avail_out == 0)
    return GRPC_INFLATE_TOO_LARGE;
  return rc == Z_STREAM_END && z->avail_in == 0 ? GRPC_INFLATE_OK : GRPC_INFLATE_BAD;
}

enum grpc_inflate_result grpc_gzip_inflate(struct grpc_gzip *gzip, struct str in, struct buf *out) {
  z_stream *z = inflater(gzip);
  int rc = Z_OK;
  if (!z)
    return GRPC_INFLATE_NO_MEMORY;
  set_input(z, in);
  while (rc == Z_OK) {
    if (!set_output(z, out))
      return probe_end(z);
    size_t room = z->avail_out;
    rc = inflate(z, Z_NO_FLUSH);
    buf_commit(out, room - z->avail_out);
  }
  return rc == Z_STREAM_END && z->avail_in == 0 ? GRPC_INFLATE_OK : GRPC_INFLATE_BAD;
}
