#include "service.h"

#include "base/alloc.h"
#include "flow.h"
#include "interop.service.h"

#include <stdlib.h>
#include <string.h>

/* ---- metadata ---- */

static struct grpc_status *give_metadata_back(void *arg, struct grpc_call *call,
                                              const struct grpc_method *method) {
  struct str key;
  struct str value;
  (void)arg;
  (void)method;
  for (size_t offset = 0; grpc_call_metadata(call, &offset, &key, &value);) {
    if (str_is(key, "x-grpc-test-echo-initial"))
      grpc_call_add_header(call, key, value);
    else if (str_is(key, "x-grpc-test-echo-trailing-bin"))
      grpc_call_add_trailer(call, key, value);
  }
  return NULL;
}

/* ---- one message for one ---- */

static struct grpc_status *check_compressed(const Grpc__Testing__BoolValue *wanted,
                                            const struct grpc_message *message) {
  if (wanted && wanted->value && !grpc_message_is_compressed(message))
    return grpc_status_new(GRPC_INVALID_ARGUMENT, "the message didn't come compressed");
  return NULL;
}

static void empty_call(void *arg, struct grpc_call *call, const Grpc__Testing__Empty *request,
                       struct grpc_message *message) {
  Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;
  (void)arg;
  (void)request;
  grpc_testing_test_service_empty_call_send(call, &response);
  grpc_message_release(message);
  grpc_call_finish(call, NULL);
}

static void answer(struct grpc_call *call, const Grpc__Testing__SimpleRequest *request) {
  static const char id[] = "interop";
  Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  payload.body = flow_zeros(request->response_size);
  response.payload = &payload;
  if (request->fill_server_id)
    response.server_id = (ProtobufCBinaryData){sizeof(id) - 1, (uint8_t *)id};
  grpc_call_set_compression(call,
                            request->response_compressed && request->response_compressed->value);
  grpc_testing_test_service_unary_call_send(call, &response);
}

static void unary_call(void *arg, struct grpc_call *call,
                       const Grpc__Testing__SimpleRequest *request, struct grpc_message *message) {
  (void)arg;
  struct grpc_status *status = check_compressed(request->expect_compressed, message);
  if (!status)
    status = flow_status(request->response_status);
  if (!status)
    answer(call, request);
  grpc_message_release(message);
  grpc_call_finish(call, status);
}

/* ---- many for one ---- */

struct sum {
  struct grpc_call *call;
  int32_t bytes;
};

static void end_sum(struct sum *sum, struct grpc_status *status) {
  struct grpc_call *call = sum->call;
  free(sum);
  grpc_call_finish(call, status);
}

static void on_sum_cancelled(void *arg) {
  end_sum(arg, NULL);
}

static struct sum *sum_of(struct grpc_call *call) {
  static const struct grpc_call_events events = {.on_cancel = on_sum_cancelled};
  struct sum *sum = grpc_call_context(call);
  if (!sum) {
    sum = xcalloc(1, sizeof(*sum));
    sum->call = call;
    grpc_call_set_context(call, sum);
    grpc_call_set_events(call, &events, sum);
  }
  return sum;
}

static void streaming_input_call(void *arg, struct grpc_call *call,
                                 const Grpc__Testing__StreamingInputCallRequest *request,
                                 struct grpc_message *message) {
  struct sum *sum = sum_of(call);
  (void)arg;
  if (!message) {
    Grpc__Testing__StreamingInputCallResponse response =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    response.aggregated_payload_size = sum->bytes;
    grpc_testing_test_service_streaming_input_call_send(call, &response);
    end_sum(sum, NULL);
    return;
  }
  struct grpc_status *status = check_compressed(request->expect_compressed, message);
  sum->bytes += request->payload ? (int32_t)request->payload->body.len : 0;
  grpc_message_release(message);
  if (status)
    end_sum(sum, status);
}

/* ---- many for many ---- */

static void streaming_output_call(void *arg, struct grpc_call *call,
                                  const Grpc__Testing__StreamingOutputCallRequest *request,
                                  struct grpc_message *message) {
  struct flow *flow = flow_of(call, arg);
  flow_add(flow, request, message, true);
  flow_close(flow);
}

static void duplex_call(struct flow *flow, const Grpc__Testing__StreamingOutputCallRequest *request,
                        struct grpc_message *message, bool is_held) {
  if (message)
    flow_add(flow, request, message, is_held);
  else
    flow_close(flow);
}

static void full_duplex_call(void *arg, struct grpc_call *call,
                             const Grpc__Testing__StreamingOutputCallRequest *request,
                             struct grpc_message *message) {
  duplex_call(flow_of(call, arg), request, message, false);
}

static void half_duplex_call(void *arg, struct grpc_call *call,
                             const Grpc__Testing__StreamingOutputCallRequest *request,
                             struct grpc_message *message) {
  duplex_call(flow_of(call, arg), request, message, true);
}

void interop_service_add(struct grpc_server *server, struct loop *loop) {
  static struct grpc_testing_test_service_handlers handlers = {
      .empty_call = {.handle = empty_call},
      .unary_call = {.handle = unary_call},
      .cacheable_unary_call = {.handle = unary_call},
      .streaming_input_call = {.handle = streaming_input_call},
      .streaming_output_call = {.handle = streaming_output_call},
      .full_duplex_call = {.handle = full_duplex_call},
      .half_duplex_call = {.handle = half_duplex_call},
  };
  handlers.streaming_output_call.service = loop;
  handlers.full_duplex_call.service = loop;
  handlers.half_duplex_call.service = loop;
  grpc_server_on_open(server, give_metadata_back, NULL);
  grpc_testing_test_service_add(server, &handlers);
}
