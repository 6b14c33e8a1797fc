#include "exchange.h"

#include "base/alloc.h"
#include "base/list.h"
#include "grpc/call.h"
#include "report.h"

#include <ctype.h>
#include <stdlib.h>

#define KEY_MAX_BYTES 256

struct request {
  struct list_link link;
  const ProtobufCMessage *body;
  struct grpc_message *message;
};

struct exchange {
  struct grpc_call *call;
  struct loop *loop;
  struct loop_timer timer;
  struct wanted wanted;
  bool is_duplex;
  bool is_closed;
  enum { READY, PAUSING, BLOCKED } state;
  struct list requests;
  size_t read;     /* of the requests: seen by the answers so far */
  size_t reported; /* of those: told of in an answer */
  size_t next;     /* of the answers */
};

/* ---- metadata ---- */

static struct str lower(const ProtobufCBinaryData *name, char out[KEY_MAX_BYTES]) {
  size_t len = name->len < KEY_MAX_BYTES ? name->len : KEY_MAX_BYTES;
  for (size_t i = 0; i < len; i++)
    out[i] = (char)tolower(name->data[i]);
  return str_of(out, len);
}

static void add_all(struct grpc_call *call, Connectrpc__Conformance__V1__Header *const *headers,
                    size_t count,
                    bool (*add)(struct grpc_call *call, struct str key, struct str value)) {
  char key[KEY_MAX_BYTES];
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < headers[i]->n_value; j++)
      add(call, lower(&headers[i]->name, key),
          str_of(headers[i]->value[j].data, headers[i]->value[j].len));
}

/* ---- the end ---- */

static void on_timer_closed(void *arg) {
  free(arg);
}

static void end(struct exchange *exchange) {
  struct list_link *link;
  while ((link = list_pop_front(&exchange->requests))) {
    struct request *request = LIST_ENTRY(link, struct request, link);
    grpc_message_release(request->message);
    free(request);
  }
  struct grpc_call *call = exchange->call;
  loop_timer_close(&exchange->timer, on_timer_closed, exchange);
  grpc_call_finish(call, NULL);
}

/* ---- answers ---- */

static void read_requests(struct exchange *exchange) {
  size_t count = exchange->requests.count;
  if (!exchange->is_duplex)
    exchange->read = count;
  else if (exchange->read < count)
    exchange->read++;
}

/* What was read and not told of yet; the first time, of the call, too. */
static void make_report(struct exchange *exchange, struct report *report) {
  size_t i = 0;
  report_init(report, exchange->requests.count);
  if (exchange->next == 0)
    report_call(report, exchange->call, clock_monotonic_us(exchange->loop->clock));
  for (struct list_link *link = exchange->requests.first; link; link = link->next, i++)
    if (i >= exchange->reported && i < exchange->read)
      report_request(report, LIST_ENTRY(link, struct request, link)->body);
  exchange->reported = exchange->read;
}

static void send_next(struct exchange *exchange) {
  Connectrpc__Conformance__V1__Response response = CONNECTRPC__CONFORMANCE__V1__RESPONSE__INIT;
  Connectrpc__Conformance__V1__ConformancePayload payload =
      CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__INIT;
  struct report report;
  read_requests(exchange);
  bool has_news = exchange->next == 0 || exchange->reported < exchange->read;
  make_report(exchange, &report);
  payload.data = exchange->wanted.answers[exchange->next];
  payload.request_info = has_news ? &report.info : NULL;
  response.payload = &payload;
  grpc_call_send(exchange->call, &response.base);
  report_deinit(&report);
  exchange->next++;
}

static void finish(struct exchange *exchange) {
  const Connectrpc__Conformance__V1__Error *error = exchange->wanted.error;
  if (error) {
    struct report report;
    read_requests(exchange);
    make_report(exchange, &report);
    struct str details = report_status(&report, error, exchange->next == 0);
    grpc_call_end(exchange->call, (enum grpc_code)error->code,
                  str_of(error->message.data, error->message.len), details);
    report_deinit(&report);
  }
  end(exchange);
}

/* Something to answer to. */
static bool is_due(const struct exchange *exchange) {
  return exchange->is_closed || (exchange->is_duplex && exchange->read < exchange->requests.count);
}

/* The pause before the next answer is over when `is_rested`. */
static void go_on(struct exchange *exchange, bool is_rested) {
  const struct wanted *wanted = &exchange->wanted;
  exchange->state = READY;
  while (is_due(exchange) && exchange->next < wanted->answer_count) {
    if (wanted->pause_us > 0 && !is_rested) {
      exchange->state = PAUSING;
      loop_timer_set(&exchange->timer,
                     clock_monotonic_us(exchange->loop->clock) + wanted->pause_us);
      return;
    }
    if (!grpc_call_is_writable(exchange->call)) {
      exchange->state = BLOCKED;
      return;
    }
    send_next(exchange);
    is_rested = false;
  }
  if (is_due(exchange))
    finish(exchange);
}

static void on_timer(void *arg) {
  go_on(arg, true);
}

static void on_writable(void *arg) {
  struct exchange *exchange = arg;
  if (exchange->state == BLOCKED)
    go_on(exchange, true);
}

static void on_cancel(void *arg) {
  end(arg);
}

/* ---- requests ---- */

struct exchange *exchange_of(struct grpc_call *call, struct loop *loop, bool *ret_is_new) {
  static const struct grpc_call_events events = {.on_cancel = on_cancel,
                                                 .on_writable = on_writable};
  struct exchange *exchange = grpc_call_context(call);
  *ret_is_new = !exchange;
  if (exchange)
    return exchange;
  exchange = xcalloc(1, sizeof(*exchange));
  exchange->call = call;
  exchange->loop = loop;
  loop_timer_init(&exchange->timer, loop, on_timer, exchange);
  grpc_call_set_context(call, exchange);
  grpc_call_set_events(call, &events, exchange);
  return exchange;
}

void exchange_want(struct exchange *exchange, const struct wanted *wanted, bool is_duplex) {
  exchange->wanted = *wanted;
  exchange->is_duplex = is_duplex;
  add_all(exchange->call, wanted->headers, wanted->header_count, grpc_call_add_header);
  add_all(exchange->call, wanted->trailers, wanted->trailer_count, grpc_call_add_trailer);
}

void exchange_take(struct exchange *exchange, const ProtobufCMessage *request,
                   struct grpc_message *message) {
  struct request *taken = xcalloc(1, sizeof(*taken));
  taken->body = request;
  taken->message = message;
  list_push_back(&exchange->requests, &taken->link);
  if (exchange->state == READY)
    go_on(exchange, false);
}

void exchange_close(struct exchange *exchange) {
  exchange->is_closed = true;
  if (exchange->state == READY)
    go_on(exchange, false);
}
