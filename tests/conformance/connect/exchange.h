/*
 * exchange: one call of the suite: requests that are kept and told of, answers that were asked for.
 */
#pragma once

#include "conformance.pb-c.h"

#include "base/loop.h"
#include "grpc/server.h"

struct exchange;

/* What is to be answered, in the order it goes out. Points into the request that says so. */
struct wanted {
  size_t header_count;
  Connectrpc__Conformance__V1__Header **headers;
  size_t answer_count;
  const ProtobufCBinaryData *answers;
  int64_t pause_us;                                /* before each */
  const Connectrpc__Conformance__V1__Error *error; /* NULL: OK */
  size_t trailer_count;
  Connectrpc__Conformance__V1__Header **trailers;
};

/* The call's own, made with its first message; then *ret_is_new. It ends itself and the call when
 * all is answered or the peer is gone. */
struct exchange *exchange_of(struct grpc_call *call, struct loop *loop, bool *ret_is_new);

/* Before any message. `is_duplex`: an answer for each request when it comes, else none before the
 * close. */
void exchange_want(struct exchange *exchange, const struct wanted *wanted, bool is_duplex);

/* Takes the message. */
void exchange_take(struct exchange *exchange, const ProtobufCMessage *request,
                   struct grpc_message *message);

/* No more of them come. */
void exchange_close(struct exchange *exchange);
