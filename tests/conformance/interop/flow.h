/*
 * flow: answers of a stream, each after its pause, in the order they were asked for.
 */
#pragma once

#include "interop.service.h"

#include "base/loop.h"

struct flow;

/* The call's own; made with its first message. Ends itself and the call once it is closed and
 * empty, or when the peer is gone. */
struct flow *flow_of(struct grpc_call *call, struct loop *loop);

/* Takes `message`, whose answers come when those before it went out; with `is_held` not before the
 * close. */
void flow_add(struct flow *flow, const Grpc__Testing__StreamingOutputCallRequest *request,
              struct grpc_message *message, bool is_held);

/* No more messages come. */
void flow_close(struct flow *flow);

/* The payload of an answer: `size` zeros. */
ProtobufCBinaryData flow_zeros(int32_t size);

/* The status that was asked for; NULL: OK. */
struct grpc_status *flow_status(const Grpc__Testing__EchoStatus *wanted);
