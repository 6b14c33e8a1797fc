/*
 * frames: nghttp2's callbacks, and what is counted against abuse.
 */
#include <string.h>

#include "base/log_sample.h"
#include "grpc/call.h"

#define IDLE_FRAME_BYTES 64
/* A byte of a message may be inflated to a thousand, and these are checked. */
#define DATA_WEIGHT 8

static struct grpc_call *call_of(nghttp2_session *h2, int32_t stream_id) {
  return nghttp2_session_get_stream_user_data(h2, stream_id);
}

/* ---- frames received ---- */

static int fail(struct grpc_session *session, uint32_t error_code, const char *text) {
  session->failure = text;
  session->failure_code = error_code;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool is_small_data(const nghttp2_frame_hd *hd) {
  return hd->length < IDLE_FRAME_BYTES && !(hd->flags & NGHTTP2_FLAG_END_STREAM);
}

/* Whether the frame brings nothing, for all that the peer may be told. */
static bool is_idle_frame(const struct grpc_session *session, const nghttp2_frame_hd *hd) {
  switch (hd->type) {
  case NGHTTP2_RST_STREAM: /* nghttp2 counts them */
    return false;
  case NGHTTP2_SETTINGS:
    return true;
  case NGHTTP2_DATA:
    return is_small_data(hd) || !call_of(session->h2, hd->stream_id);
  case NGHTTP2_HEADERS:
    return hd->stream_id <= session->last_stream_id;
  default:
    return hd->length < IDLE_FRAME_BYTES;
  }
}

/* nghttp2 passes over headers of closed streams, as a peer may not know yet that they are. One that
 * was never opened isn't closed: the ids between two streams can't be used any more (RFC 9113,
 * 5.1.1). The latest gap is remembered; honest peers leave none. */
static bool is_in_gap(struct grpc_session *session, const nghttp2_frame_hd *hd) {
  if (hd->type != NGHTTP2_HEADERS || hd->stream_id % 2 == 0)
    return false;
  if (hd->stream_id <= session->last_stream_id)
    return hd->stream_id > session->gap_from && hd->stream_id < session->gap_to;
  if (hd->stream_id > session->last_stream_id + 2) {
    session->gap_from = session->last_stream_id;
    session->gap_to = hd->stream_id;
  }
  return false;
}

static int on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *hd, void *user) {
  struct grpc_session *session = user;
  (void)h2;
  if (is_in_gap(session, hd))
    return fail(session, NGHTTP2_PROTOCOL_ERROR, "stream ids must grow");
  if (is_idle_frame(session, hd) && !bucket_take(&session->idle_frames, session->now_us))
    return fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames without content");
  if (hd->type == NGHTTP2_HEADERS && hd->stream_id > session->last_stream_id)
    session->last_stream_id = hd->stream_id;
  return 0;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  session->header_call = NULL;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return 0;
  int32_t id = frame->hd.stream_id;
  /* gRPC's C core pings to measure its bandwidth, also while calls wait for a slow answer. */
  grpc_liveness_used(&session->liveness);
  struct grpc_call *call = grpc_call_new(session, id);
  if (!call) {
    (void)nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  nghttp2_session_set_stream_user_data(h2, id, call);
  /* Without this, where priorities aren't RFC 7540's, one endless stream would starve the others.
   */
  const nghttp2_extpri incremental = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  (void)nghttp2_session_change_extpri_stream_priority(h2, id, &incremental, 1);
  session->header_call = call;
  return 0;
}

/* 0, or that others have their turn now, or memory is short: what is left comes in the next, or
 * when there is room, so that a call which keeps to the rules isn't refused for the rest of a read.
 */
static int go_on(struct grpc_session *session, size_t bytes) {
  bool is_over = grpc_share_turn_is_over(session, bytes);
  session->is_interrupted = is_over || grpc_memory_is_to_wait(session);
  return session->is_interrupted ? NGHTTP2_ERR_PAUSE : 0;
}

/* Whose field it is; NULL: nobody's who wants to know. */
static struct grpc_call *call_of_field(const struct grpc_session *session,
                                       const nghttp2_frame *frame) {
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return call_of(session->h2, frame->hd.stream_id);
  bool is_current = session->header_call && session->header_call->stream_id == frame->hd.stream_id;
  return is_current ? session->header_call : NULL;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user) {
  struct grpc_session *session = user;
  struct grpc_call *call = call_of_field(session, frame);
  struct str field = str_of(name, name_len);
  (void)h2;
  (void)flags;
  if (!call)
    return go_on(session, name_len + value_len);
  bool is_fine = frame->headers.cat == NGHTTP2_HCAT_REQUEST
                     ? grpc_headers_take(call, field, str_of(value, value_len))
                     : grpc_headers_take_trailer(call, field, value_len);
  return is_fine ? go_on(session, name_len + value_len)
                 : fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "a header list far above the limit");
}

static void trailers_received(struct grpc_session *session, const nghttp2_frame *frame) {
  struct grpc_call *call = call_of(session->h2, frame->hd.stream_id);
  if (!call)
    return;
  if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    grpc_fields_end_early(&call->request.fields);
  if (call->request.fields.fault && !call->is_ended)
    grpc_call_reject(call, call->request.fields.fault);
}

static void headers_received(struct grpc_session *session, const nghttp2_frame *frame) {
  struct grpc_call *call = session->header_call;
  session->header_call = NULL;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    trailers_received(session, frame);
  else if (call)
    grpc_headers_complete(call);
}

/* What comes is complete; whether it is what was stated shows only now. */
static void request_ended(struct grpc_call *call) {
  struct grpc_fields *fields = &call->request.fields;
  grpc_fields_end(fields);
  if (!fields->fault)
    grpc_receive_half_close(call);
  else if (!call->is_ended)
    grpc_call_reject(call, fields->fault);
}

static int ping_received(struct grpc_session *session, const nghttp2_frame *frame) {
  if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
    return grpc_liveness_pinged(&session->liveness, session->now_us)
               ? 0
               : fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
  bool is_ours = memcmp(frame->ping.opaque_data, grpc_session_goaway_ping,
                        sizeof(frame->ping.opaque_data)) == 0;
  if (is_ours && session->goaway_deadline_us != CLOCK_NEVER)
    session->goaway_deadline_us = session->now_us;
  return 0;
}

static void settings_received(struct grpc_session *session, const nghttp2_frame *frame) {
  if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
    session->settings_deadline_us = CLOCK_NEVER;
  } else if (session->handshake_deadline_us != CLOCK_NEVER) {
    session->handshake_deadline_us = CLOCK_NEVER;
    session->settings_deadline_us = session->now_us + session->server->config->handshake_timeout_us;
  }
}

/* As good as empty, which the frame's length alone didn't show. */
static bool is_padding(const nghttp2_frame *frame) {
  return frame->hd.type == NGHTTP2_DATA && frame->hd.length >= IDLE_FRAME_BYTES &&
         frame->hd.length - frame->data.padlen < IDLE_FRAME_BYTES &&
         !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  uint8_t type = frame->hd.type;
  if (type == NGHTTP2_HEADERS)
    headers_received(session, frame);
  else if (type == NGHTTP2_PING)
    return ping_received(session, frame);
  else if (type == NGHTTP2_SETTINGS)
    settings_received(session, frame);
  else if (is_padding(frame) && !bucket_take(&session->idle_frames, session->now_us))
    return fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames without content");
  if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) &&
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
    struct grpc_call *call = call_of(h2, frame->hd.stream_id);
    if (call)
      request_ended(call);
  }
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t len, void *user) {
  struct grpc_call *call = call_of(h2, stream_id);
  (void)flags;
  (void)nghttp2_session_consume_connection(h2, len);
  if (call)
    call->request.fields.received += len;
  if (call)
    grpc_receive_data(call, data, len);
  else
    (void)nghttp2_session_consume_stream(h2, stream_id, len);
  return go_on(user, len * DATA_WEIGHT);
}

/* Extensions are ignored, as HTTP/2 demands, but counted by on_begin_frame. */
static int ignore_extension(nghttp2_session *h2, void **payload, const nghttp2_frame_hd *hd,
                            void *user) {
  (void)h2;
  (void)payload;
  (void)hd;
  (void)user;
  return NGHTTP2_ERR_CANCEL;
}

/* ---- frames sent, streams closed ---- */

/* Also nghttp2's own, for what breaks HTTP/2's rules. */
static void goaway_sent(struct grpc_session *session, const nghttp2_goaway *goaway) {
  if (goaway->error_code == NGHTTP2_NO_ERROR)
    return;
  session->server->stats.failed++;
  const char *reason = session->failure ? session->failure : "the peer broke a rule of HTTP/2";
  const struct log_cause cause = {.level = LOG_INFO,
                                  .event = "connection ended",
                                  .peer = net_conn_peer(session->conn),
                                  .detail = KV("reason", reason)};
  const struct log_kv code = KV("code", nghttp2_http2_strerror(goaway->error_code));
  log_sampled(session->server->loop, &cause, &code, 1);
}

/* Not what anybody is told. */
static bool is_worked_on(const struct grpc_call *call) {
  return call && call->is_let_in && !call->request.route->is_public;
}

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct grpc_session *session = user;
  int32_t id = frame->hd.stream_id;
  switch (frame->hd.type) {
  case NGHTTP2_DATA:
  case NGHTTP2_HEADERS:
    /* Answers pay for the pings and window updates that they cause. */
    bucket_put(&session->idle_frames, 2);
    session->has_answered = session->has_answered || is_worked_on(call_of(h2, id));
    grpc_liveness_used(&session->liveness);
    /* The answer is complete and the request isn't: tell the peer that nobody reads the rest. Any
     * earlier, the reset would take the trailers' place. */
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(h2, id) == 0)
      (void)nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    break;
  case NGHTTP2_RST_STREAM: {
    uint32_t code = frame->rst_stream.error_code;
    bool is_bad =
        code != NGHTTP2_NO_ERROR && code != NGHTTP2_REFUSED_STREAM && code != NGHTTP2_CANCEL;
    if (is_bad && !bucket_take(&session->bad_resets, session->now_us))
      (void)fail(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many streams had to be reset");
    break;
  }
  case NGHTTP2_GOAWAY:
    goaway_sent(session, &frame->goaway);
    break;
  default:
    break;
  }
  return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code,
                           void *user) {
  struct grpc_session *session = user;
  struct grpc_call *call = call_of(h2, stream_id);
  (void)error_code;
  if (!call)
    return 0;
  if (session->header_call == call)
    session->header_call = NULL;
  nghttp2_session_set_stream_user_data(h2, stream_id, NULL);
  grpc_call_stream_closed(call);
  return 0;
}

nghttp2_session_callbacks *grpc_session_callbacks(void) {
  nghttp2_session_callbacks *callbacks = NULL;
  if (nghttp2_session_callbacks_new(&callbacks) != 0)
    abort();
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
  nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, ignore_extension);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  return callbacks;
}
