#include "service.h"

#include "conformance.service.h"
#include "exchange.h"

/* Unset, a call with one answer has an empty one. */
static struct wanted
wanted_of_one(const Connectrpc__Conformance__V1__UnaryResponseDefinition *definition) {
  static const ProtobufCBinaryData empty = {0};
  if (!definition)
    return (struct wanted){.answer_count = 1, .answers = &empty};
  int which = (int)definition->response_case;
  bool has_error = which == CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_ERROR;
  bool has_data =
      which == CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_RESPONSE_DATA;
  return (struct wanted){
      .header_count = definition->n_response_headers,
      .headers = definition->response_headers,
      .answer_count = has_error ? 0 : 1,
      .answers = has_data ? &definition->response_data : &empty,
      .pause_us = CLOCK_US_PER_MS * definition->response_delay_ms,
      .error = has_error ? definition->error : NULL,
      .trailer_count = definition->n_response_trailers,
      .trailers = definition->response_trailers,
  };
}

/* Unset, a call with many has none. */
static struct wanted
wanted_of_many(const Connectrpc__Conformance__V1__StreamResponseDefinition *definition) {
  if (!definition)
    return (struct wanted){0};
  return (struct wanted){
      .header_count = definition->n_response_headers,
      .headers = definition->response_headers,
      .answer_count = definition->n_response_data,
      .answers = definition->response_data,
      .pause_us = CLOCK_US_PER_MS * definition->response_delay_ms,
      .error = definition->error,
      .trailer_count = definition->n_response_trailers,
      .trailers = definition->response_trailers,
  };
}

static void unary(void *arg, struct grpc_call *call,
                  const Connectrpc__Conformance__V1__UnaryRequest *request,
                  struct grpc_message *message) {
  bool is_new;
  struct exchange *exchange = exchange_of(call, arg, &is_new);
  struct wanted wanted = wanted_of_one(request->response_definition);
  exchange_want(exchange, &wanted, false);
  exchange_take(exchange, &request->base, message);
  exchange_close(exchange);
}

static void server_stream(void *arg, struct grpc_call *call,
                          const Connectrpc__Conformance__V1__ServerStreamRequest *request,
                          struct grpc_message *message) {
  bool is_new;
  struct exchange *exchange = exchange_of(call, arg, &is_new);
  struct wanted wanted = wanted_of_many(request->response_definition);
  exchange_want(exchange, &wanted, false);
  grpc_call_send_headers(call);
  exchange_take(exchange, &request->base, message);
  exchange_close(exchange);
}

static void client_stream(void *arg, struct grpc_call *call,
                          const Connectrpc__Conformance__V1__ClientStreamRequest *request,
                          struct grpc_message *message) {
  bool is_new;
  struct exchange *exchange = exchange_of(call, arg, &is_new);
  if (is_new) {
    struct wanted wanted = wanted_of_one(request ? request->response_definition : NULL);
    exchange_want(exchange, &wanted, false);
  }
  if (message)
    exchange_take(exchange, &request->base, message);
  else
    exchange_close(exchange);
}

static void bidi_stream(void *arg, struct grpc_call *call,
                        const Connectrpc__Conformance__V1__BidiStreamRequest *request,
                        struct grpc_message *message) {
  bool is_new;
  struct exchange *exchange = exchange_of(call, arg, &is_new);
  if (is_new && message) {
    struct wanted wanted = wanted_of_many(request->response_definition);
    exchange_want(exchange, &wanted, request->full_duplex);
    if (request->full_duplex)
      grpc_call_send_headers(call);
  }
  if (message)
    exchange_take(exchange, &request->base, message);
  else
    exchange_close(exchange);
}

/* What they are is known with the first message. */
static struct grpc_status *hold_headers(void *arg, struct grpc_call *call,
                                        const struct grpc_method *method) {
  (void)arg;
  (void)method;
  grpc_call_hold_headers(call);
  return NULL;
}

void conformance_service_add(struct grpc_server *server, struct loop *loop) {
  static struct connectrpc_conformance_v1_conformance_service_handlers handlers;
  handlers = (struct connectrpc_conformance_v1_conformance_service_handlers){
      .unary = {.handle = unary, .service = loop},
      .server_stream = {.handle = server_stream, .service = loop},
      .client_stream = {.handle = client_stream, .service = loop},
      .bidi_stream = {.handle = bidi_stream, .service = loop},
  };
  grpc_server_on_open(server, hold_headers, NULL);
  connectrpc_conformance_v1_conformance_service_add(server, &handlers);
}
