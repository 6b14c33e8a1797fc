#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "grpc/call.h"
#include "grpc/gzip.h"

/* protobuf-c spends 32 bytes per field and a struct per sub-message, however short they are on the
 * wire: without a limit 4 MiB of empty sub-messages became 400 MiB. */
#define ARENA_PER_BYTE 8

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

static struct grpc_message *message_new(struct grpc_call *call, size_t len) {
  struct grpc_message *message = xcalloc(1, sizeof(*message));
  message->bytes = len;
  message->is_compressed = grpc_deframer_is_compressed(&call->rx);
  message->account = grpc_account_hold(call->account);
  grpc_message_hold_anyway(message, sizeof(*message));
  arena_init_counted(&message->arena, ARENA_PER_BYTE * len + call->request.route->room_bytes,
                     &call->account->kinds[GRPC_MEMORY_HELD]);
  return message;
}

static void message_free(struct grpc_message *message) {
  arena_deinit(&message->arena);
  if (message->extra_bytes > 0)
    budget_give(&message->account->kinds[GRPC_MEMORY_HELD], message->extra_bytes);
  grpc_account_release(message->account);
  free(message);
}

void grpc_call_fail_short(struct grpc_call *call) {
  grpc_call_refuse(call, grpc_status_short_of_memory());
}

/* What is above a limit of the service's own is told in its words. */
static void fail_too_costly(struct grpc_call *call, const struct buf *body) {
  const struct grpc_server *server = call->server;
  struct grpc_status *status =
      server->on_costly ? server->on_costly(server->on_costly_arg, call->request.route->method,
                                            str_of(buf_bytes(body), buf_len(body)))
                        : NULL;
  if (!status)
    status = grpc_status_new(GRPC_INVALID_ARGUMENT,
                             "the request takes more than %zu bytes of memory: it has far more "
                             "parts than its %zu bytes should hold",
                             ARENA_PER_BYTE * buf_len(body) + call->request.route->room_bytes,
                             buf_len(body));
  grpc_call_refuse(call, status);
}

static void fail_unpack(struct grpc_call *call, const struct arena *arena, const struct buf *body) {
  if (arena->is_short)
    grpc_call_fail_short(call);
  else if (arena->is_full)
    fail_too_costly(call, body);
  else
    grpc_call_fail(call, GRPC_INTERNAL, "the request isn't a valid protobuf message");
}

static struct grpc_message *unpack_body(struct grpc_call *call, const struct buf *body,
                                        ProtobufCMessage **ret_request) {
  struct grpc_message *message = message_new(call, buf_len(body));
  ProtobufCMessage *request = unpack(message, call->request.route->method->input, body);
  if (!request) {
    fail_unpack(call, &message->arena, body);
    message_free(message);
    return NULL;
  }
  message->call = call;
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
    grpc_call_fail_short(call);
    return;
  }
  (void)snprintf(text, sizeof(text), "a request message inflates to more than %zu bytes",
                 call->rx.max_body_bytes);
  grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, text);
}

static struct grpc_message *inflate_body(struct grpc_call *call, ProtobufCMessage **ret_request) {
  struct grpc_message *message = NULL;
  struct buf body;
  buf_init_counted(&body, call->rx.max_body_bytes, &call->account->kinds[GRPC_MEMORY_HELD]);
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
  if (!call->is_stream_open)
    return;
  if (message->uncredited > 0)
    (void)nghttp2_session_consume_stream(call->session->h2, call->stream_id, message->uncredited);
  grpc_receive_credit(call);
  grpc_call_touch(call);
  net_conn_want_write(call->session->conn);
}

void grpc_message_release(struct grpc_message *message) {
  struct grpc_memory *memory = message->account->memory;
  if (message->call)
    give_back_window(message);
  message_free(message);
  if (memory)
    grpc_memory_given_back(memory);
}

void grpc_message_hold_anyway(struct grpc_message *message, size_t bytes) {
  budget_force(&message->account->kinds[GRPC_MEMORY_HELD], bytes);
  message->extra_bytes += bytes;
}

bool grpc_message_hold(struct grpc_message *message, size_t bytes) {
  if (!budget_take(&message->account->kinds[GRPC_MEMORY_HELD], bytes))
    return false;
  message->extra_bytes += bytes;
  return true;
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
