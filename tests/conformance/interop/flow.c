#include "flow.h"

#include "base/alloc.h"
#include "base/list.h"

#include <stdlib.h>

#define ZEROS_MAX_BYTES (16 * 1024 * 1024)

struct part {
  struct list_link link;
  const Grpc__Testing__StreamingOutputCallRequest *request;
  struct grpc_message *message;
  size_t next; /* of its answers */
};

struct flow {
  struct grpc_call *call;
  struct loop *loop;
  struct loop_timer timer;
  struct list parts;
  bool is_held;
  bool is_closed;
  bool is_waiting; /* for the timer or for room */
};

ProtobufCBinaryData flow_zeros(int32_t size) {
  static uint8_t zeros[ZEROS_MAX_BYTES];
  bool is_possible = size > 0 && size <= ZEROS_MAX_BYTES;
  return (ProtobufCBinaryData){is_possible ? (size_t)size : 0, zeros};
}

struct grpc_status *flow_status(const Grpc__Testing__EchoStatus *wanted) {
  if (!wanted || wanted->code == 0)
    return NULL;
  return grpc_status_new((enum grpc_code)wanted->code, "%.*s", (int)wanted->message.len,
                         (const char *)wanted->message.data);
}

static void drop_first(struct flow *flow) {
  struct part *part = LIST_ENTRY(list_pop_front(&flow->parts), struct part, link);
  grpc_message_release(part->message);
  free(part);
}

static void on_timer_closed(void *arg) {
  free(arg);
}

static void end(struct flow *flow, struct grpc_status *status) {
  while (flow->parts.first)
    drop_first(flow);
  loop_timer_close(&flow->timer, on_timer_closed, flow);
  grpc_call_finish(flow->call, status);
}

static void send_one(struct flow *flow, const Grpc__Testing__ResponseParameters *wanted) {
  Grpc__Testing__StreamingOutputCallResponse response =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  payload.body = flow_zeros(wanted->size);
  response.payload = &payload;
  grpc_call_set_compression(flow->call, wanted->compressed && wanted->compressed->value);
  grpc_testing_test_service_full_duplex_call_send(flow->call, &response);
}

static void wait_for(struct flow *flow, int64_t us) {
  flow->is_waiting = true;
  loop_timer_set(&flow->timer, clock_monotonic_us(flow->loop->clock) + us);
}

/* The pause before an answer has passed when `is_due`. */
static void go_on(struct flow *flow, bool is_due) {
  flow->is_waiting = false;
  while (flow->parts.first && (!flow->is_held || flow->is_closed)) {
    struct part *part = LIST_ENTRY(flow->parts.first, struct part, link);
    if (part->next == part->request->n_response_parameters) {
      if (part->request->response_status && part->request->response_status->code) {
        end(flow, flow_status(part->request->response_status));
        return;
      }
      drop_first(flow);
      continue;
    }
    const Grpc__Testing__ResponseParameters *wanted =
        part->request->response_parameters[part->next];
    if (wanted->interval_us > 0 && !is_due) {
      wait_for(flow, wanted->interval_us);
      return;
    }
    if (!grpc_call_is_writable(flow->call)) {
      flow->is_waiting = true;
      return;
    }
    send_one(flow, wanted);
    part->next++;
    is_due = false;
  }
  if (flow->is_closed && !flow->parts.first)
    end(flow, NULL);
}

static void on_timer(void *arg) {
  go_on(arg, true);
}

static void on_writable(void *arg) {
  go_on(arg, true);
}

static void on_cancel(void *arg) {
  end(arg, NULL);
}

struct flow *flow_of(struct grpc_call *call, struct loop *loop) {
  static const struct grpc_call_events events = {.on_cancel = on_cancel,
                                                 .on_writable = on_writable};
  struct flow *flow = grpc_call_context(call);
  if (flow)
    return flow;
  flow = xcalloc(1, sizeof(*flow));
  flow->call = call;
  flow->loop = loop;
  loop_timer_init(&flow->timer, loop, on_timer, flow);
  grpc_call_set_context(call, flow);
  grpc_call_set_events(call, &events, flow);
  return flow;
}

void flow_add(struct flow *flow, const Grpc__Testing__StreamingOutputCallRequest *request,
              struct grpc_message *message, bool is_held) {
  struct part *part = xcalloc(1, sizeof(*part));
  part->request = request;
  part->message = message;
  list_push_back(&flow->parts, &part->link);
  flow->is_held = is_held;
  if (!flow->is_waiting)
    go_on(flow, false);
}

void flow_close(struct flow *flow) {
  flow->is_closed = true;
  if (!flow->is_waiting)
    go_on(flow, false);
}
