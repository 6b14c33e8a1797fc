/* The public calls: streams of all kinds, and unary calls as the simplest of them. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Sends block while so much waits for the server's flow control. */
#define SEND_QUEUE_BYTES (1024 * 1024)
/* Above it a message can't be framed (4-byte length), nor would any server take it. */
#define MAX_SENT_MESSAGE_BYTES (1024u * 1024 * 1024)

static const struct auditstore_call_options no_options;

static int64_t call_deadline(const struct auditstore_channel *c,
                             const struct auditstore_call_options *options) {
  return timeout_to_deadline(options->timeout_ms ? options->timeout_ms : c->default_timeout_ms);
}

/* ---- messages received ---- */

static bool has_message(const struct auditstore_stream *s) {
  return s->inbox.count > 0;
}

static struct received *take_message(struct auditstore_stream *s) {
  struct received *message = LIST_ENTRY(list_pop_front(&s->inbox), struct received, link);
  s->inbox_bytes -= message->len;
  if (s->held_bytes > 0 && s->id > 0 && !s->is_ended) {
    nghttp2_session_consume_stream(s->channel->session, s->id, s->held_bytes);
    s->held_bytes = 0;
  }
  return message;
}

static void drop_inbox(struct auditstore_stream *s) {
  while (has_message(s))
    free(take_message(s));
}

/* ---- life ---- */

static void stream_free(struct auditstore_stream *s) {
  drop_inbox(s);
  grpc_deframer_deinit(&s->deframer);
  buf_deinit(&s->out);
  auditstore_status_deinit(&s->status);
  free(s);
}

static struct auditstore_stream *stream_new(struct auditstore_channel *c,
                                            const struct auditstore_method *method,
                                            int64_t deadline_us) {
  struct auditstore_stream *s = calloc(1, sizeof(*s));
  if (!s)
    return NULL;
  s->channel = c;
  s->method = method;
  s->deadline_us = deadline_us;
  buf_init(&s->out, SEND_QUEUE_BYTES + (size_t)MAX_SENT_MESSAGE_BYTES + GRPC_PREFIX_BYTES);
  grpc_deframer_init(&s->deframer, c->max_message_bytes);
  return s;
}

/* Under the lock. */
static struct auditstore_stream *open_locked(struct auditstore_channel *c,
                                             const struct auditstore_method *method,
                                             const struct auditstore_call_options *options,
                                             struct auditstore_status *status) {
  int64_t deadline_us = call_deadline(c, options);
  if (channel_connect(c, deadline_us, options->wait_for_ready, status) != AUDITSTORE_OK)
    return NULL;
  struct auditstore_stream *s = stream_new(c, method, deadline_us);
  if (!s) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  if (call_submit(s, options) == 0)
    return s;
  status_move(&s->status, status);
  stream_free(s);
  return NULL;
}

struct auditstore_stream *auditstore_stream_open(struct auditstore_channel *channel,
                                                 const struct auditstore_method *method,
                                                 const struct auditstore_call_options *options,
                                                 struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  pthread_mutex_lock(&channel->lock);
  struct auditstore_stream *s =
      open_locked(channel, method, options ? options : &no_options, &failure);
  if (s)
    channel_flush(channel);
  pthread_mutex_unlock(&channel->lock);
  status_move(&failure, status);
  return s;
}

/* ---- waiting ---- */

/* Ends the call when its deadline passed. */
static bool check_deadline(struct auditstore_stream *s) {
  if (s->is_ended || s->deadline_us == NEVER || monotonic_us() < s->deadline_us)
    return false;
  call_abort(s, AUDITSTORE_DEADLINE_EXCEEDED, "deadline passed");
  channel_flush(s->channel);
  return true;
}

static int64_t step_deadline(const struct auditstore_stream *s, int64_t until_us) {
  return until_us < s->deadline_us ? until_us : s->deadline_us;
}

typedef bool stream_test(const struct auditstore_stream *s);

/* Waits until `test` holds, the call has ended, or `until_us`; says whether the test holds. */
static bool wait_for(struct auditstore_stream *s, stream_test *test, int64_t until_us) {
  while (!test(s) && !s->is_ended && !check_deadline(s)) {
    if (monotonic_us() >= until_us)
      return false;
    channel_wait(s->channel, step_deadline(s, until_us));
  }
  return test(s);
}

static bool has_room(const struct auditstore_stream *s) {
  return buf_len(&s->out) < SEND_QUEUE_BYTES;
}

static bool has_ended(const struct auditstore_stream *s) {
  return s->is_ended;
}

/* ---- sending ---- */

static void resume(struct auditstore_stream *s) {
  if (s->is_deferred && s->id > 0) {
    s->is_deferred = false;
    nghttp2_session_resume_data(s->channel->session, s->id);
  }
}

static bool queue_message(struct auditstore_stream *s, const ProtobufCMessage *message) {
  size_t len = protobuf_c_message_get_packed_size(message);
  uint8_t *room =
      len > MAX_SENT_MESSAGE_BYTES ? NULL : buf_reserve(&s->out, GRPC_PREFIX_BYTES + len);
  if (!room)
    return false;
  room[0] = 0;
  for (int i = 0; i < 4; i++)
    room[1 + i] = (uint8_t)(len >> (8 * (3 - i)));
  protobuf_c_message_pack(message, room + GRPC_PREFIX_BYTES);
  buf_commit(&s->out, GRPC_PREFIX_BYTES + len);
  resume(s);
  return true;
}

static enum auditstore_stream_result
send_locked(struct auditstore_stream *s, const ProtobufCMessage *message, int64_t until_us) {
  if (!wait_for(s, has_room, until_us))
    return s->is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_AGAIN;
  if (s->is_ended)
    return AUDITSTORE_STREAM_END;
  if (s->is_half_closed || !queue_message(s, message)) {
    call_abort(s, AUDITSTORE_INTERNAL,
               s->is_half_closed ? "sent after half-close" : "message too large or out of memory");
    return AUDITSTORE_STREAM_END;
  }
  return AUDITSTORE_STREAM_OK;
}

enum auditstore_stream_result auditstore_stream_send(struct auditstore_stream *s,
                                                     const ProtobufCMessage *message,
                                                     int timeout_ms) {
  pthread_mutex_lock(&s->channel->lock);
  enum auditstore_stream_result result = send_locked(s, message, timeout_to_deadline(timeout_ms));
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
  return result;
}

static void half_close_locked(struct auditstore_stream *s) {
  if (s->is_half_closed || s->is_ended)
    return;
  s->is_half_closed = true;
  resume(s);
}

void auditstore_stream_half_close(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  half_close_locked(s);
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
}

/* ---- receiving ---- */

static struct received *receive_locked(struct auditstore_stream *s, int64_t until_us) {
  return wait_for(s, has_message, until_us) ? take_message(s) : NULL;
}

/* Messages behind one that can't be read are dropped with it. */
static void fail_unreadable(struct auditstore_stream *s) {
  call_abort(s, AUDITSTORE_INTERNAL, "the answer isn't the message that was agreed");
  status_set(&s->status, AUDITSTORE_INTERNAL, "the answer isn't the message that was agreed");
  drop_inbox(s);
}

enum auditstore_stream_result auditstore_stream_recv(struct auditstore_stream *s,
                                                     ProtobufCMessage **ret_message,
                                                     int timeout_ms) {
  *ret_message = NULL;
  pthread_mutex_lock(&s->channel->lock);
  struct received *received = receive_locked(s, timeout_to_deadline(timeout_ms));
  bool is_ended = s->is_ended;
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
  if (!received)
    return is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_AGAIN;
  *ret_message = protobuf_c_message_unpack(s->method->output, NULL, received->len, received->bytes);
  if (!*ret_message) {
    pthread_mutex_lock(&s->channel->lock);
    fail_unreadable(s);
    pthread_mutex_unlock(&s->channel->lock);
  }
  free(received);
  return *ret_message ? AUDITSTORE_STREAM_OK : AUDITSTORE_STREAM_END;
}

/* ---- ending ---- */

void auditstore_stream_cancel(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  call_abort(s, AUDITSTORE_CANCELLED, "cancelled by the caller");
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
}

static void finish_locked(struct auditstore_stream *s) {
  half_close_locked(s);
  while (!s->is_ended) {
    drop_inbox(s);
    if (!check_deadline(s))
      channel_wait(s->channel, s->deadline_us);
  }
}

enum auditstore_code auditstore_stream_finish(struct auditstore_stream *s,
                                              struct auditstore_status *status) {
  struct auditstore_channel *c = s->channel;
  pthread_mutex_lock(&c->lock);
  finish_locked(s);
  channel_flush(c);
  pthread_mutex_unlock(&c->lock);
  enum auditstore_code code = status_move(&s->status, status);
  stream_free(s);
  return code;
}

/* ---- unary ---- */

/* The one answer, unpacked, or NULL with s->status saying why. */
static ProtobufCMessage *take_answer(struct auditstore_stream *s, struct received *received) {
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

/* One attempt. *ret_again: the server promised that it did not process it. */
static ProtobufCMessage *unary_once(struct auditstore_channel *c,
                                    const struct auditstore_unary *call,
                                    const struct auditstore_call_options *options,
                                    struct auditstore_status *status, bool *ret_again) {
  pthread_mutex_lock(&c->lock);
  struct auditstore_stream *s = open_locked(c, call->method, options, status);
  if (!s) {
    pthread_mutex_unlock(&c->lock);
    return NULL;
  }
  if (send_locked(s, call->request, NEVER) == AUDITSTORE_STREAM_OK)
    half_close_locked(s);
  wait_for(s, has_ended, NEVER);
  struct received *received = has_message(s) ? take_message(s) : NULL;
  channel_flush(c);
  pthread_mutex_unlock(&c->lock);
  ProtobufCMessage *message = take_answer(s, received);
  *ret_again = s->may_retry;
  free(received);
  status_move(&s->status, status);
  stream_free(s);
  return message;
}

enum auditstore_code auditstore_call_unary(struct auditstore_channel *channel,
                                           const struct auditstore_unary *call,
                                           ProtobufCMessage **ret_response,
                                           struct auditstore_status *status) {
  struct auditstore_call_options options = call->options ? *call->options : no_options;
  struct auditstore_status result = {0};
  int64_t deadline_us = call_deadline(channel, &options);
  bool again = false;
  *ret_response = unary_once(channel, call, &options, &result, &again);
  if (again && monotonic_us() < deadline_us) {
    /* Not processed, so once more is safe; within the same deadline. */
    if (deadline_us != NEVER)
      options.timeout_ms = (int)((deadline_us - monotonic_us()) / 1000) + 1;
    *ret_response = unary_once(channel, call, &options, &result, &again);
  }
  return status_move(&result, status);
}
