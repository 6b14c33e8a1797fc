#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "grpc/call.h"
#include "grpc/gzip.h"

/* protobuf-c spends 32 bytes per field and a struct per sub-message, however short they are on the
 * wire: without a limit 4 MiB of empty sub-messages became 400 MiB. */
#define ARENA_PER_BYTE   8
#define ARENA_BASE_BYTES ((size_t)64 * 1024)

static void *alloc_from_arena(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *p) {
  (void)arena;
  (void)p;
}

static ProtobufCMessage *unpack(struct grpc_message *message,
                                const ProtobufCMessageDescriptor *descriptor,
                                const struct buf *body) {
  ProtobufCAllocator allocator = {alloc_from_arena, free_nothing, &message->arena};
  static const uint8_t none[1];
  const uint8_t *bytes = buf_len(body) > 0 ? buf_bytes(body) : none;
  return protobuf_c_message_unpack(descriptor, &allocator, buf_len(body), bytes);
}

static struct grpc_message *unpack_body(struct grpc_call *call, const struct buf *body,
                                        ProtobufCMessage **ret_request) {
  struct grpc_message *message = xcalloc(1, sizeof(*message));
  message->bytes = buf_len(body);
  message->is_compressed = grpc_deframer_is_compressed(&call->rx);
  arena_init(&message->arena, ARENA_PER_BYTE * message->bytes + ARENA_BASE_BYTES);
  ProtobufCMessage *request = unpack(message, call->request.route->method->input, body);
  if (!request) {
    if (message->arena.is_full)
      grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                     "the request takes too much memory for its length");
    else
      grpc_call_fail(call, GRPC_INTERNAL, "the request isn't a valid protobuf message");
    arena_deinit(&message->arena);
    free(message);
    return NULL;
  }
  message->call = call;
  message->memory = message->arena.used_bytes;
  call->held_bytes += message->memory;
  list_push_back(&call->messages, &message->link);
  *ret_request = request;
  return message;
}

static void fail_inflate(struct grpc_call *call, enum grpc_inflate_result result) {
  char text[128];
  if (result == GRPC_INFLATE_BAD) {
    grpc_call_fail(call, GRPC_INTERNAL, "a compressed message isn't valid gzip");
    return;
  }
  if (result == GRPC_INFLATE_NO_MEMORY) {
    grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  (void)snprintf(text, sizeof(text), "a request message inflates to more than %zu bytes",
                 call->rx.max_body_bytes);
  grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, text);
}

static struct grpc_message *inflate_body(struct grpc_call *call, ProtobufCMessage **ret_request) {
  struct grpc_message *message = NULL;
  struct buf body;
  buf_init(&body, call->rx.max_body_bytes);
  struct str in = str_of(buf_bytes(&call->rx.body), buf_len(&call->rx.body));
  enum grpc_inflate_result result = grpc_gzip_inflate(&call->server->gzip, in, &body);
  if (result == GRPC_INFLATE_OK)
    message = unpack_body(call, &body, ret_request);
  else
    fail_inflate(call, result);
  buf_deinit(&body);
  return message;
}

struct grpc_message *grpc_message_unpack(struct grpc_call *call, ProtobufCMessage **ret_request) {
  return grpc_deframer_is_compressed(&call->rx) ? inflate_body(call, ret_request)
                                                : unpack_body(call, &call->rx.body, ret_request);
}

void grpc_message_detach_all(struct grpc_call *call) {
  struct list_link *link = NULL;
  while ((link = list_pop_front(&call->messages)))
    LIST_ENTRY(link, struct grpc_message, link)->call = NULL;
}

static void give_back_window(struct grpc_message *message) {
  struct grpc_call *call = message->call;
  list_remove(&call->messages, &message->link);
  call->held_bytes -= message->memory;
  grpc_inbound_count(call);
  if (!call->is_stream_open)
    return;
  if (message->uncredited > 0)
    (void)nghttp2_session_consume_stream(call->session->h2, call->stream_id, message->uncredited);
  grpc_receive_credit(call);
  grpc_call_touch(call);
  net_conn_want_write(call->session->conn);
}

void grpc_message_release(struct grpc_message *message) {
  if (message->call)
    give_back_window(message);
  arena_deinit(&message->arena);
  free(message);
}

struct arena *grpc_message_arena(struct grpc_message *message) {
  return &message->arena;
}

bool grpc_message_is_compressed(const struct grpc_message *message) {
  return message->is_compressed;
}

size_t grpc_message_bytes(const struct grpc_message *message) {
  return message->bytes;
}
