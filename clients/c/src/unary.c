/* Unary calls: a stream with one message each way. */
#include "internal.h"

#include <stdlib.h>

/* The one answer, unpacked; NULL: s->status says why. */
static ProtobufCMessage *unpack_answer(struct auditstore_stream *s,
                                       const struct received *received) {
  if (s->status.code != AUDITSTORE_OK)
    return NULL;
  if (!received) {
    status_set(&s->status, AUDITSTORE_INTERNAL, "the server answered OK without a message");
    return NULL;
  }
  ProtobufCMessage *message =
      protobuf_c_message_unpack(s->method->output, NULL, received->len, received->bytes);
  if (!message)
    status_set(&s->status, AUDITSTORE_INTERNAL, "the answer isn't the message that was agreed");
  return message;
}

struct auditstore_stream *unary_new(struct auditstore_channel *c,
                                    const struct auditstore_unary *call,
                                    struct auditstore_status *status) {
  struct auditstore_stream *s = call_new(c, call->method, call->options, status);
  if (!s)
    return NULL;
  s->is_unary = true;
  s->is_half_closed = true;
  if (call_queue_message(s, call->request))
    return s;
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  call_free(s);
  return NULL;
}

ProtobufCMessage *unary_take_answer(struct auditstore_stream *s) {
  struct received *received = call_take_message(s);
  ProtobufCMessage *message = unpack_answer(s, received);
  free(received);
  return message;
}

enum auditstore_code auditstore_call_unary(struct auditstore_channel *channel,
                                           const struct auditstore_unary *call,
                                           ProtobufCMessage **ret_response,
                                           struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  struct auditstore_stream *s = unary_new(channel, call, &failure);
  *ret_response = NULL;
  if (!s)
    return status_move(&failure, status);
  pthread_mutex_lock(&channel->lock);
  call_begin(s);
  stream_wait_end(s);
  channel_flush(channel);
  channel_leave(channel);
  *ret_response = unary_take_answer(s);
  enum auditstore_code code = status_move(&s->status, status);
  call_free(s);
  return code;
}
