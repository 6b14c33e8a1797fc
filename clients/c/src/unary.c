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

/* Asks and waits. NULL: `status` says why. */
static struct auditstore_stream *ask(struct auditstore_channel *c,
                                     const struct auditstore_unary *call, int64_t deadline_us,
                                     struct auditstore_status *status) {
  const struct auditstore_call_options *o = call->options ? call->options : &no_call_options;
  struct auditstore_stream *s = stream_open_locked(c, call->method, o, deadline_us, status);
  if (!s)
    return NULL;
  s->is_unary = true;
  if (stream_send_locked(s, call->request, NEVER) == AUDITSTORE_STREAM_OK)
    stream_half_close_locked(s);
  stream_wait_end_locked(s);
  channel_flush(c);
  return s;
}

/* One attempt. *ret_again: the server can't have processed it. */
static ProtobufCMessage *unary_once(struct auditstore_channel *c,
                                    const struct auditstore_unary *call, int64_t deadline_us,
                                    struct auditstore_status *status, bool *ret_again) {
  *ret_again = false;
  pthread_mutex_lock(&c->lock);
  struct auditstore_stream *s = ask(c, call, deadline_us, status);
  pthread_mutex_unlock(&c->lock);
  if (!s)
    return NULL;
  struct received *received = call_take_message(s);
  ProtobufCMessage *message = unpack_answer(s, received);
  *ret_again = s->may_retry;
  status_move(&s->status, status);
  free(received);
  call_free(s);
  return message;
}

enum auditstore_code auditstore_call_unary(struct auditstore_channel *channel,
                                           const struct auditstore_unary *call,
                                           ProtobufCMessage **ret_response,
                                           struct auditstore_status *status) {
  struct auditstore_status result = {0};
  int64_t deadline_us = call_deadline(channel, call->options ? call->options : &no_call_options);
  bool again = false;
  *ret_response = unary_once(channel, call, deadline_us, &result, &again);
  if (again && monotonic_us() < deadline_us)
    *ret_response = unary_once(channel, call, deadline_us, &result, &again);
  return status_move(&result, status);
}
