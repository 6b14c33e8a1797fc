/* Messages and their bytes: framed as gRPC, compressed, unpacked. */
#include "internal.h"

#include <stdlib.h>

/* No server takes a larger one, and with its queue it stays in range of the prefix's 4 bytes. */
#define MAX_SENT_MESSAGE_BYTES ((size_t)1024 * 1024 * 1024)
/* Shorter ones aren't worth the time. */
#define COMPRESS_ABOVE_BYTES ((size_t)1024)

static void write_prefix(uint8_t *p, bool is_compressed, size_t len) {
  p[0] = is_compressed;
  for (int i = 0; i < 4; i++)
    p[1 + i] = (uint8_t)(len >> (8 * (3 - i)));
}

static bool frame_plain(struct buf *out, const ProtobufCMessage *message, size_t len) {
  uint8_t *room = buf_reserve(out, GRPC_PREFIX_BYTES + len);
  if (!room)
    return false;
  write_prefix(room, false, len);
  protobuf_c_message_pack(message, room + GRPC_PREFIX_BYTES);
  buf_commit(out, GRPC_PREFIX_BYTES + len);
  return true;
}

/* False: not shorter, or out of memory. */
static bool frame_compressed(struct buf *out, const ProtobufCMessage *message, size_t len,
                             struct grpc_gzip *gzip) {
  uint8_t prefix[GRPC_PREFIX_BYTES];
  uint8_t *packed = malloc(len);
  struct buf body;
  buf_init(&body, len - 1);
  bool ok = packed != NULL;
  if (ok) {
    protobuf_c_message_pack(message, packed);
    ok = grpc_gzip_compress(gzip, str_of(packed, len), &body);
  }
  write_prefix(prefix, true, buf_len(&body));
  ok = ok && buf_reserve(out, sizeof(prefix) + buf_len(&body)) &&
       buf_append(out, prefix, sizeof(prefix)) && buf_append(out, buf_bytes(&body), buf_len(&body));
  buf_deinit(&body);
  free(packed);
  return ok;
}

bool message_frame(struct buf *out, const ProtobufCMessage *message, struct grpc_gzip *gzip) {
  size_t len = protobuf_c_message_get_packed_size(message);
  if (len > MAX_SENT_MESSAGE_BYTES)
    return false;
  return (gzip && len > COMPRESS_ABOVE_BYTES && frame_compressed(out, message, len, gzip)) ||
         frame_plain(out, message, len);
}

bool message_frame_packed(struct buf *out, const struct str *parts, size_t count) {
  uint8_t prefix[GRPC_PREFIX_BYTES];
  size_t len = 0;
  for (size_t i = 0; i < count; i++)
    len += parts[i].len;
  if (len > MAX_SENT_MESSAGE_BYTES || !buf_reserve(out, sizeof(prefix) + len))
    return false;
  write_prefix(prefix, false, len);
  bool ok = buf_append(out, prefix, sizeof(prefix));
  for (size_t i = 0; i < count && ok; i++)
    ok = buf_append(out, parts[i].data, parts[i].len);
  return ok;
}

/* ---- unpacking ---- */

static ProtobufCMessage *unpack(const struct auditstore_stream *s, struct str bytes,
                                struct auditstore_status *status) {
  ProtobufCMessage *message =
      protobuf_c_message_unpack(s->method->output, NULL, bytes.len, (const uint8_t *)bytes.data);
  if (!message)
    status_set(status, AUDITSTORE_INTERNAL, "the answer isn't the message that was agreed");
  return message;
}

static ProtobufCMessage *inflate_and_unpack(struct auditstore_stream *s, struct str packed,
                                            struct auditstore_status *status) {
  ProtobufCMessage *message = NULL;
  struct buf body;
  buf_init(&body, s->deframer.max_body_bytes);
  switch (grpc_gzip_inflate(&s->gzip, packed, &body)) {
  case GRPC_INFLATE_OK:
    message = unpack(s, str_of(buf_bytes(&body), buf_len(&body)), status);
    break;
  case GRPC_INFLATE_TOO_LARGE:
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED,
               "the answer is larger than max_message_bytes once inflated");
    break;
  case GRPC_INFLATE_BAD:
    status_set(status, AUDITSTORE_INTERNAL, "the answer isn't valid gzip");
    break;
  case GRPC_INFLATE_NO_MEMORY:
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    break;
  }
  buf_deinit(&body);
  return message;
}

ProtobufCMessage *message_unpack(struct auditstore_stream *s, struct received *received,
                                 struct auditstore_status *status) {
  struct str bytes = str_of(received->bytes, received->len);
  ProtobufCMessage *message =
      received->is_compressed ? inflate_and_unpack(s, bytes, status) : unpack(s, bytes, status);
  free(received);
  return message;
}
