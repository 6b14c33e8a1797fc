#include <stdio.h>

#include "grpc/call.h"

/*
 * Credit. The connection's window is given back at once, so that one slow stream never stops the
 * others. The stream's window is given back at once for the message under assembly (a message
 * larger than the window could never arrive otherwise), but only while the handler holds no
 * complete message: so a peer can have at most one window's worth, and one message, waiting here.
 */

static bool has_streaming_request(const struct grpc_call *call) {
  enum grpc_method_kind kind = call->request.route->method->kind;
  return kind == GRPC_CLIENT_STREAMING || kind == GRPC_BIDI_STREAMING;
}

static void credit_stream(struct grpc_call *call, size_t len) {
  if (len > 0 && call->is_stream_open)
    (void)nghttp2_session_consume_stream(call->session->h2, call->stream_id, len);
}

void grpc_receive_credit(struct grpc_call *call) {
  if (call->messages.count > 0 && !call->is_ended)
    return;
  credit_stream(call, call->rx_uncredited);
  call->rx_uncredited = 0;
}

/* ---- running the handler ---- */

static void run_handler(struct grpc_call *call, const ProtobufCMessage *request,
                        struct grpc_message *message) {
  const struct grpc_route *route = call->request.route;
  call->is_running = true;
  route->method->dispatch(route->handlers, call, request, message);
}

static bool passes_hook(struct grpc_call *call) {
  const struct grpc_server *server = call->server;
  struct grpc_status *refusal =
      server->on_message ? server->on_message(server->on_message_arg, call) : NULL;
  if (!refusal)
    return true;
  grpc_call_refuse(call, refusal);
  return false;
}

static void deliver(struct grpc_call *call) {
  ProtobufCMessage *request = NULL;
  if (!passes_hook(call))
    return;
  if (!grpc_memory_has_room(call->session)) {
    grpc_call_fail_short(call);
    return;
  }
  struct grpc_message *message = grpc_message_unpack(call, &request);
  if (!message)
    return;
  bucket_put(&call->session->idle_frames, 1);
  message->uncredited = call->rx_uncredited;
  call->rx_uncredited = 0;
  run_handler(call, request, message);
}

/* ---- bytes ---- */

static void fail_too_large(struct grpc_call *call) {
  char text[128];
  (void)snprintf(text, sizeof(text), "a request message has %zu bytes, the maximum is %zu",
                 call->rx.body_len, call->rx.max_body_bytes);
  grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, text);
}

static void fail_compressed(struct grpc_call *call) {
  if (call->request.encoding == ENCODING_GZIP)
    grpc_call_fail(
        call, GRPC_UNIMPLEMENTED,
        "this method takes no compressed messages: send them with the encoding identity");
  else
    grpc_call_fail(call, GRPC_INTERNAL, "a message is compressed but grpc-encoding names no way");
}

static void complete_message(struct grpc_call *call, size_t more) {
  if (has_streaming_request(call)) {
    deliver(call);
    if (!call->is_ended)
      grpc_deframer_next(&call->rx);
  } else if (more > 0) {
    /* A single request is run at the half-close, when it is certain that it is the only one. */
    grpc_call_fail(call, GRPC_UNIMPLEMENTED, "the method takes one request message, not several");
  }
}

static void feed(struct grpc_call *call, const uint8_t **data, size_t *len) {
  size_t before = *len;
  enum grpc_deframe_result result = grpc_deframer_feed(&call->rx, data, len);
  call->rx_uncredited += before - *len;
  switch (result) {
  case GRPC_DEFRAME_MORE:
    break;
  case GRPC_DEFRAME_MESSAGE:
    complete_message(call, *len);
    break;
  case GRPC_DEFRAME_TOO_LARGE:
    fail_too_large(call);
    break;
  case GRPC_DEFRAME_NO_MEMORY:
    grpc_call_fail_short(call);
    break;
  case GRPC_DEFRAME_COMPRESSED:
    fail_compressed(call);
    break;
  case GRPC_DEFRAME_BAD_FLAG:
    grpc_call_fail(call, GRPC_INTERNAL, "unexpected payload format: bad flag of a message");
    break;
  }
}

void grpc_receive_data(struct grpc_call *call, const uint8_t *data, size_t len) {
  call->progress_us = call->session->now_us;
  while (len > 0 && call->is_accepted && !call->is_ended)
    feed(call, &data, &len);
  credit_stream(call, len);
  grpc_receive_credit(call);
}

/* ---- the end of the request ---- */

static void half_close_single(struct grpc_call *call) {
  if (call->rx.prefix_len == GRPC_PREFIX_BYTES)
    deliver(call);
  else
    grpc_call_fail(call, GRPC_UNIMPLEMENTED, "the method takes one request message, none came");
  grpc_deframer_next(&call->rx);
}

void grpc_receive_half_close(struct grpc_call *call) {
  if (call->is_half_closed)
    return;
  call->is_half_closed = true;
  if (call->is_ended)
    return;
  if (call->is_page)
    grpc_respond_page(call);
  else if (grpc_deframer_is_partial(&call->rx))
    grpc_call_fail(call, GRPC_INTERNAL, "the request ended within a message");
  else if (has_streaming_request(call))
    run_handler(call, NULL, NULL);
  else
    half_close_single(call);
}
