/* Unary calls: a stream with one message each way. */
#include "internal.h"

struct auditstore_stream *unary_new(struct auditstore_channel *c,
                                    const struct auditstore_unary *call,
                                    struct auditstore_status *status) {
  struct auditstore_stream *s = call_new(c, call->method, call->options, status);
  if (!s)
    return NULL;
  s->is_unary = true;
  s->is_half_closed = true;
  if (message_frame(&s->out, call->request, s->compresses ? &s->gzip : NULL))
    return s;
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  call_free(s);
  return NULL;
}

ProtobufCMessage *unary_take_answer(struct auditstore_stream *s) {
  if (s->status.code != AUDITSTORE_OK)
    return NULL;
  struct received *received = call_take_message(s);
  if (received)
    return message_unpack(s, received, &s->status);
  status_set(&s->status, AUDITSTORE_INTERNAL, "the server answered OK without a message");
  return NULL;
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

enum auditstore_code auditstore_call_start(struct auditstore_channel *channel,
                                           const struct auditstore_unary *call,
                                           auditstore_done_cb *on_done, void *arg,
                                           struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  struct auditstore_stream *s = unary_new(channel, call, &failure);
  if (!s)
    return status_move(&failure, status);
  pthread_mutex_lock(&channel->lock);
  s->on_done = on_done;
  s->on_done_arg = arg;
  call_begin_in_loop(s);
  channel_leave(channel);
  return status_move(&failure, status);
}
