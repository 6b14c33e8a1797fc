/* The public calls on streams of all kinds. */
#include "internal.h"

/* Sends block while so much waits for the server's flow control. */
#define SEND_QUEUE_BYTES ((size_t)1024 * 1024)
#define MAX_FRAMED_BYTES ((size_t)2 * 1024 * 1024 * 1024)
/* ---- waiting ---- */

typedef bool stream_test(const struct auditstore_stream *s);

/* Waits until `test` holds, the call has ended, or `until_us`; says whether the test holds. Looks
 * at the socket at least once, so that a caller who never waits gets on too. */
static bool wait_for(struct auditstore_stream *s, stream_test *test, int64_t until_us) {
  bool has_looked = false;
  while (!test(s) && !s->is_ended) {
    if (has_looked && monotonic_us() >= until_us)
      return false;
    channel_wait(s->channel, until_us);
    has_looked = true;
  }
  return test(s);
}

static bool was_placed(const struct auditstore_stream *s) {
  return s->link != NULL || s->retry.attempts + s->retry.untouched > 0;
}

static bool has_message(const struct auditstore_stream *s) {
  return s->inbox.count > 0;
}

static bool has_room(const struct auditstore_stream *s) {
  return buf_len(&s->out) - s->out_taken < SEND_QUEUE_BYTES;
}

static bool has_ended(const struct auditstore_stream *s) {
  return s->is_ended;
}

void stream_wait_end(struct auditstore_stream *s) {
  wait_for(s, has_ended, NEVER);
}

/* ---- opening ---- */

struct auditstore_stream *auditstore_stream_open(struct auditstore_channel *channel,
                                                 const struct auditstore_method *method,
                                                 const struct auditstore_call_options *options,
                                                 struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  struct auditstore_stream *s = call_new(channel, method, options, &failure);
  if (!s) {
    status_move(&failure, status);
    return NULL;
  }
  pthread_mutex_lock(&channel->lock);
  call_begin(s);
  bool is_open = wait_for(s, was_placed, NEVER);
  channel_flush(channel);
  channel_leave(channel);
  if (is_open)
    return s;
  status_move(&s->status, status);
  call_free(s);
  return NULL;
}

/* ---- sending ---- */

static void resume(struct auditstore_stream *s) {
  if (!s->is_deferred || !s->link)
    return;
  s->is_deferred = false;
  nghttp2_session_resume_data(s->link->session, s->id);
}

/* To `framed`, the message is there already; NULL: it isn't. */
static bool queue_message(struct auditstore_stream *s, const ProtobufCMessage *message,
                          const struct buf *framed) {
  return framed ? buf_append(&s->out, buf_bytes(framed), buf_len(framed))
                : message_frame(&s->out, message, NULL);
}

static enum auditstore_stream_result send_locked(struct auditstore_stream *s,
                                                 const ProtobufCMessage *message,
                                                 const struct buf *framed, int64_t until_us) {
  if (!wait_for(s, has_room, until_us) && !s->is_ended)
    return AUDITSTORE_STREAM_AGAIN;
  if (s->is_ended)
    return AUDITSTORE_STREAM_END;
  if (s->is_half_closed)
    call_abort(s, AUDITSTORE_INTERNAL, "sent after half-close");
  else if (!queue_message(s, message, framed))
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  else
    resume(s);
  return s->is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_OK;
}

enum auditstore_stream_result auditstore_stream_send(struct auditstore_stream *s,
                                                     const ProtobufCMessage *message,
                                                     int timeout_ms) {
  struct buf framed = {0};
  buf_init(&framed, MAX_FRAMED_BYTES);
  /* Compressing takes its time: without the lock. */
  bool is_framed = s->compresses && message_frame(&framed, message, &s->gzip);
  pthread_mutex_lock(&s->channel->lock);
  enum auditstore_stream_result result =
      send_locked(s, message, is_framed ? &framed : NULL, timeout_to_deadline(timeout_ms));
  channel_flush(s->channel);
  channel_leave(s->channel);
  buf_deinit(&framed);
  return result;
}

enum auditstore_stream_result stream_send_packed(struct auditstore_stream *s,
                                                 const struct str *parts, size_t count,
                                                 int timeout_ms) {
  enum auditstore_stream_result result = AUDITSTORE_STREAM_OK;
  pthread_mutex_lock(&s->channel->lock);
  if (!wait_for(s, has_room, timeout_to_deadline(timeout_ms)))
    result = AUDITSTORE_STREAM_AGAIN;
  else if (message_frame_packed(&s->out, parts, count))
    resume(s);
  else
    call_abort(s, AUDITSTORE_RESOURCE_EXHAUSTED, "message too large, or out of memory");
  if (s->is_ended)
    result = AUDITSTORE_STREAM_END;
  channel_flush(s->channel);
  channel_leave(s->channel);
  return result;
}

static void half_close(struct auditstore_stream *s) {
  if (s->is_half_closed || s->is_ended)
    return;
  s->is_half_closed = true;
  resume(s);
}

void auditstore_stream_half_close(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  half_close(s);
  channel_flush(s->channel);
  channel_leave(s->channel);
}

/* ---- receiving ---- */

/* Messages behind one that can't be read are dropped with it. */
static void fail_unreadable(struct auditstore_stream *s, struct auditstore_status *why) {
  pthread_mutex_lock(&s->channel->lock);
  call_abort(s, why->code, NULL);
  status_move(why, &s->status);
  call_drop_messages(s);
  channel_flush(s->channel);
  channel_leave(s->channel);
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
  channel_leave(s->channel);
  if (!received)
    return is_ended ? AUDITSTORE_STREAM_END : AUDITSTORE_STREAM_AGAIN;
  struct auditstore_status why = {0};
  *ret_message = message_unpack(s, received, &why);
  if (*ret_message)
    return AUDITSTORE_STREAM_OK;
  fail_unreadable(s, &why);
  return AUDITSTORE_STREAM_END;
}

/* ---- ending ---- */

void auditstore_stream_cancel(struct auditstore_stream *s) {
  pthread_mutex_lock(&s->channel->lock);
  call_abort(s, AUDITSTORE_CANCELLED, "cancelled by the caller");
  channel_flush(s->channel);
  channel_leave(s->channel);
}

static bool has_message_or_ended(const struct auditstore_stream *s) {
  return s->inbox.count > 0 || s->is_ended;
}

enum auditstore_code auditstore_stream_finish(struct auditstore_stream *s,
                                              struct auditstore_status *status) {
  struct auditstore_channel *c = s->channel;
  pthread_mutex_lock(&c->lock);
  half_close(s);
  while (!s->is_ended) {
    call_drop_messages(s);
    wait_for(s, has_message_or_ended, NEVER);
  }
  channel_flush(c);
  channel_leave(c);
  enum auditstore_code code = status_move(&s->status, status);
  call_free(s);
  return code;
}
