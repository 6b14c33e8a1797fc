/* The public calls on streams of all kinds. */
#include "internal.h"

#include <stdlib.h>

/* Sends block while so much waits for the server's flow control. */
#define SEND_QUEUE_BYTES ((size_t)1024 * 1024)
/* No server takes a larger one, and with its queue it stays in range of the prefix's 4 bytes. */
#define MAX_SENT_MESSAGE_BYTES ((size_t)1024 * 1024 * 1024)

const struct auditstore_call_options no_call_options;

int64_t call_deadline(const struct auditstore_channel *c,
                      const struct auditstore_call_options *options) {
  return timeout_to_deadline(options->timeout_ms ? options->timeout_ms : c->default_timeout_ms);
}

/* ---- opening ---- */

struct auditstore_stream *stream_open_locked(struct auditstore_channel *c,
                                             const struct auditstore_method *method,
                                             const struct auditstore_call_options *options,
                                             int64_t deadline_us,
                                             struct auditstore_status *status) {
  struct link *l = NULL;
  if (channel_connect(c, deadline_us, options->wait_for_ready, &l, status) != AUDITSTORE_OK)
    return NULL;
  struct auditstore_stream *s = call_new(c, method, deadline_us);
  if (!s) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  if (call_submit(s, l, options) == 0)
    return s;
  status_move(&s->status, status);
  call_free(s);
  return NULL;
}

struct auditstore_stream *auditstore_stream_open(struct auditstore_channel *channel,
                                                 const struct auditstore_method *method,
                                                 const struct auditstore_call_options *options,
                                                 struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  const struct auditstore_call_options *o = options ? options : &no_call_options;
  pthread_mutex_lock(&channel->lock);
  struct auditstore_stream *s =
      stream_open_locked(channel, method, o, call_deadline(channel, o), &failure);
  if (s)
    channel_flush(channel);
  pthread_mutex_unlock(&channel->lock);
  status_move(&failure, status);
  return s;
}

/* ---- waiting ---- */

/* Ends the call when its deadline passed. */
static bool check_deadline(struct auditstore_stream *s) {
  if (s->is_ended || monotonic_us() < s->deadline_us)
    return false;
  call_abort(s, AUDITSTORE_DEADLINE_EXCEEDED, "deadline passed");
  return true;
}

typedef bool stream_test(const struct auditstore_stream *s);

/* Waits until `test` holds, the call has ended, or `until_us`; says whether the test holds. Looks
 * at the socket at least once, so that a caller who never waits gets on too. */
static bool wait_for(struct auditstore_stream *s, stream_test *test, int64_t until_us) {
  bool has_looked = false;
  int64_t step_us = until_us < s->deadline_us ? until_us : s->deadline_us;
  while (!test(s) && !s->is_ended && !check_deadline(s)) {
    if (has_looked && monotonic_us() >= until_us)
      return false;
    channel_wait(s->channel, step_us);
    has_looked = true;
  }
  return test(s);
}

static bool has_message(const struct auditstore_stream *s) {
  return s->inbox.count > 0;
}

static bool has_room(const struct auditstore_stream *s) {
  return buf_len(&s->out) < SEND_QUEUE_BYTES;
}

static bool has_ended(const struct auditstore_stream *s) {
  return s->is_ended;
}

void stream_wait_end_locked(struct auditstore_stream *s) {
  wait_for(s, has_ended, NEVER);
}

/* ---- sending ---- */

static void resume(struct auditstore_stream *s) {
  if (!s->is_deferred || !s->link)
    return;
  s->is_deferred = false;
  nghttp2_session_resume_data(s->link->session, s->id);
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

enum auditstore_stream_result
stream_send_locked(struct auditstore_stream *s, const ProtobufCMessage *message, int64_t until_us) {
  if (!wait_for(s, has_room, until_us) && !s->is_ended)
    return AUDITSTORE_STREAM_AGAIN;
  if (s->is_ended)
    return AUDITSTORE_STREAM_END;
  if (s->is_half_closed)
    call_abort(s, AUDITSTORE_INTERNAL, "sent after half-close");
  else if (!queue_message(s, message))
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  return s->is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_OK;
}

enum auditstore_stream_result auditstore_stream_send(struct auditstore_stream *s,
                                                     const ProtobufCMessage *message,
                                                     int timeout_ms) {
  pthread_mutex_lock(&s->channel->lock);
  enum auditstore_stream_result result =
      stream_send_locked(s, message, timeout_to_deadline(timeout_ms));
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
  return result;
}

static bool queue_parts(struct auditstore_stream *s, const struct str *parts, size_t count) {
  size_t len = 0;
  for (size_t i = 0; i < count; i++)
    len += parts[i].len;
  if (len > MAX_SENT_MESSAGE_BYTES || !buf_reserve(&s->out, GRPC_PREFIX_BYTES + len))
    return false;
  bool ok = buf_append(&s->out, "", 1) && buf_append_be32(&s->out, (uint32_t)len);
  for (size_t i = 0; i < count && ok; i++)
    ok = buf_append(&s->out, parts[i].data, parts[i].len);
  resume(s);
  return ok;
}

enum auditstore_stream_result stream_send_parts(struct auditstore_stream *s,
                                                const struct str *parts, size_t count,
                                                int timeout_ms) {
  enum auditstore_stream_result result = AUDITSTORE_STREAM_OK;
  pthread_mutex_lock(&s->channel->lock);
  if (!wait_for(s, has_room, timeout_to_deadline(timeout_ms)) && !s->is_ended)
    result = AUDITSTORE_STREAM_AGAIN;
  else if (!s->is_ended && !queue_parts(s, parts, count))
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  if (s->is_ended)
    result = AUDITSTORE_STREAM_END;
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
  return result;
}

void stream_half_close_locked(struct auditstore_stream *s) {
  if (s->is_half_closed || s->is_ended)
    return;
  s->is_half_closed = true;
  resume(s);
}

void auditstore_stream_half_close(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  stream_half_close_locked(s);
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
}

/* ---- receiving ---- */

/* Messages behind one that can't be read are dropped with it. */
static void fail_unreadable(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  call_abort(s, AUDITSTORE_INTERNAL, NULL);
  status_set(&s->status, AUDITSTORE_INTERNAL, "the answer isn't the message that was agreed");
  call_drop_messages(s);
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
}

enum auditstore_stream_result auditstore_stream_recv(struct auditstore_stream *s,
                                                     ProtobufCMessage **ret_message,
                                                     int timeout_ms) {
  *ret_message = NULL;
  pthread_mutex_lock(&s->channel->lock);
  wait_for(s, has_message, timeout_to_deadline(timeout_ms));
  struct received *received = call_take_message(s);
  bool is_ended = s->is_ended;
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
  if (!received)
    return is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_AGAIN;
  *ret_message = protobuf_c_message_unpack(s->method->output, NULL, received->len, received->bytes);
  free(received);
  if (*ret_message)
    return AUDITSTORE_STREAM_OK;
  fail_unreadable(s);
  return AUDITSTORE_STREAM_END;
}

/* ---- ending ---- */

void auditstore_stream_cancel(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  call_abort(s, AUDITSTORE_CANCELLED, "cancelled by the caller");
  channel_flush(s->channel);
  pthread_mutex_unlock(&s->channel->lock);
}

static bool has_message_or_ended(const struct auditstore_stream *s) {
  return s->inbox.count > 0 || s->is_ended;
}

enum auditstore_code auditstore_stream_finish(struct auditstore_stream *s,
                                              struct auditstore_status *status) {
  struct auditstore_channel *c = s->channel;
  pthread_mutex_lock(&c->lock);
  stream_half_close_locked(s);
  while (!s->is_ended) {
    call_drop_messages(s);
    wait_for(s, has_message_or_ended, NEVER);
  }
  channel_flush(c);
  pthread_mutex_unlock(&c->lock);
  enum auditstore_code code = status_move(&s->status, status);
  call_free(s);
  return code;
}
