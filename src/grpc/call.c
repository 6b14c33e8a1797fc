#include "grpc/call.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log_sample.h"

/* Of those in whose way others are held back. */
#define SHORT_PATIENCE_US 1000000

/* ---- life ---- */

static void run_events(void *arg);

struct grpc_call *grpc_call_new(struct grpc_session *session, int32_t stream_id) {
  struct budget *budget = &session->account->kinds[GRPC_MEMORY_CONNECTION];
  if (!grpc_memory_has_room(session) || !budget_take(budget, GRPC_CALL_BYTES))
    return NULL;
  struct grpc_call *call = xcalloc(1, sizeof(*call));
  call->server = session->server;
  call->session = session;
  call->account = grpc_account_hold(session->account);
  buf_init_counted(&call->request.metadata.fields, GRPC_METADATA_MAX_BYTES, budget);
  buf_init_counted(&call->headers.fields, GRPC_METADATA_MAX_BYTES, budget);
  buf_init_counted(&call->trailers.fields, GRPC_METADATA_MAX_BYTES, budget);
  call->stream_id = stream_id;
  call->is_stream_open = true;
  call->request.timeout_us = CLOCK_NEVER;
  call->deadline.at_us = CLOCK_NEVER;
  call->progress_us = session->now_us;
  call->events_task.cb = run_events;
  call->events_task.arg = call;
  list_push_back(&session->calls, &call->link);
  call->server->stats.calls++;
  return call;
}

static void unlink_call(struct grpc_call *call) {
  if (call->session)
    list_remove(&call->session->calls, &call->link);
  else if (call->server)
    list_remove(&call->server->orphans, &call->link);
}

static void free_if_over(struct grpc_call *call) {
  if (call->is_stream_open || call->is_running || call->is_in_events)
    return;
  struct grpc_server *server = call->server;
  bool was_orphan = !call->session;
  unlink_call(call);
  if (server) {
    server->stats.calls--;
    if (!call->is_page)
      server->stats.ended[call->is_ended ? call->code : GRPC_CANCELLED]++;
    grpc_deadlines_remove(&server->deadlines, &call->deadline);
    loop_cancel(server->loop, &call->events_task);
  }
  grpc_message_detach_all(call);
  grpc_deframer_deinit(&call->rx);
  buf_deinit(&call->tx);
  buf_deinit(&call->status_text);
  grpc_metadata_deinit(&call->request.metadata);
  grpc_metadata_deinit(&call->headers);
  grpc_metadata_deinit(&call->trailers);
  free(call->request.unknown_path);
  if (call->caller)
    call->free_caller(call->caller);
  budget_give(&call->account->kinds[GRPC_MEMORY_CONNECTION], GRPC_CALL_BYTES);
  grpc_account_release(call->account);
  free(call);
  if (server && was_orphan)
    grpc_server_check_drained(server);
}

static void drop_answers(struct grpc_call *call) {
  buf_deinit(&call->tx);
  grpc_respond_count(call);
}

void grpc_call_stream_closed(struct grpc_call *call) {
  call->is_stream_open = false;
  grpc_deframer_deinit(&call->rx);
  drop_answers(call);
  grpc_memory_given_back(&call->server->memory);
  if (call->is_running && !call->is_cancelled) {
    call->is_cancelled = true;
    grpc_call_post(call, EVENT_CANCEL);
  }
  free_if_over(call);
}

void grpc_call_conn_lost(struct grpc_call *call) {
  list_remove(&call->session->calls, &call->link);
  call->session = NULL;
  list_push_back(&call->server->orphans, &call->link);
  if (call->is_stream_open)
    grpc_call_stream_closed(call);
}

void grpc_call_disown(struct grpc_call *call) {
  struct grpc_server *server = call->server;
  list_remove(&server->orphans, &call->link);
  grpc_deadlines_remove(&server->deadlines, &call->deadline);
  loop_cancel(server->loop, &call->events_task);
  call->server = NULL;
}

/* ---- ending ---- */

void grpc_call_end(struct grpc_call *call, enum grpc_code code, struct str message,
                   struct str details) {
  call->is_ended = true;
  grpc_call_touch(call);
  grpc_respond_set_status(call, code, message, details);
  grpc_receive_credit(call);
  grpc_respond(call);
}

static void cancel_handler(struct grpc_call *call) {
  if (!call->is_running || call->is_cancelled)
    return;
  call->is_cancelled = true;
  grpc_call_post(call, EVENT_CANCEL);
}

void grpc_call_fail(struct grpc_call *call, enum grpc_code code, const char *message) {
  if (call->is_ended)
    return;
  grpc_call_end(call, code, str_z(message), str_of(NULL, 0));
  cancel_handler(call);
}

void grpc_call_reset(struct grpc_call *call, uint32_t error_code) {
  if (!call->is_ended)
    call->code = GRPC_CANCELLED;
  call->is_ended = true;
  (void)nghttp2_submit_rst_stream(call->session->h2, NGHTTP2_FLAG_NONE, call->stream_id,
                                  error_code);
  net_conn_want_write(call->session->conn);
  drop_answers(call);
  cancel_handler(call);
}

void grpc_call_reject(struct grpc_call *call, const char *fault) {
  call->server->stats.malformed++;
  const struct log_cause cause = {.level = LOG_DEBUG,
                                  .event = "stream reset: the request isn't HTTP/2",
                                  .peer = net_conn_peer(call->session->conn),
                                  .detail = KV("reason", fault)};
  const struct log_kv stream = KV("stream", call->stream_id);
  log_sampled(call->server->loop, &cause, &stream, 1);
  grpc_call_reset(call, NGHTTP2_PROTOCOL_ERROR);
}

void grpc_call_cut(struct grpc_call *call, enum grpc_code code, const char *message) {
  if (call->is_ended || call->tx_left > 0) {
    grpc_call_reset(call, NGHTTP2_CANCEL);
    return;
  }
  drop_answers(call);
  grpc_call_fail(call, code, message);
  grpc_respond_trailers_now(call);
}

void grpc_call_deadline_passed(struct grpc_deadline *deadline) {
  struct grpc_call *call = LIST_ENTRY(deadline, struct grpc_call, deadline);
  if (call->is_stream_open)
    grpc_call_cut(call, GRPC_DEADLINE_EXCEEDED, "the deadline passed");
}

/* ---- draining, stalling ---- */

void grpc_call_drain(struct grpc_call *call) {
  if (call->is_running)
    grpc_call_post(call, EVENT_DRAIN);
  else if (call->is_accepted && !call->is_ended && !grpc_deframer_is_partial(&call->rx) &&
           call->request.route->method->kind == GRPC_BIDI_STREAMING)
    grpc_call_fail(call, GRPC_UNAVAILABLE, "the server is shutting down");
}

void grpc_call_touch(struct grpc_call *call) {
  call->progress_us = clock_monotonic_us(call->server->loop->clock);
}

/* The peer owes the rest of its request, and isn't held back by us. */
static bool waits_for_request(const struct grpc_call *call) {
  if (!call->is_accepted)
    return call->is_page && !call->is_half_closed;
  enum grpc_method_kind kind = call->request.route->method->kind;
  bool is_single = kind == GRPC_UNARY || kind == GRPC_SERVER_STREAMING;
  if (call->is_half_closed || call->messages.count > 0)
    return false;
  return is_single || grpc_deframer_is_partial(&call->rx);
}

/* An idle stream of a service that is open to anybody: no one is known to need it. */
static bool asks_nothing(const struct grpc_call *call) {
  return call->is_accepted && call->request.route->is_public && !call->is_half_closed &&
         call->request.route->method->kind == GRPC_BIDI_STREAMING;
}

/* Less where the connection has more than its share of memory that is short: perhaps its peer is
 * gone, which doesn't show while nothing is read. */
static int64_t patience_us(const struct grpc_call *call) {
  int64_t timeout_us = call->server->config->write_timeout_us;
  return call->session->is_short_of_memory ? deadline_min(timeout_us, SHORT_PATIENCE_US)
                                           : timeout_us;
}

void grpc_call_tick(struct grpc_call *call, int64_t now_us) {
  if (!call->is_stream_open || now_us - call->progress_us < patience_us(call))
    return;
  call->progress_us = now_us;
  if (call->is_ended || buf_len(&call->tx) > 0)
    grpc_call_reset(call, NGHTTP2_CANCEL);
  else if (waits_for_request(call))
    grpc_call_fail(call, GRPC_DEADLINE_EXCEEDED, "the rest of the request didn't come in time");
  else if (asks_nothing(call))
    grpc_call_fail(call, GRPC_DEADLINE_EXCEEDED, "nothing was asked for too long a time");
}

/* ---- events ---- */

void grpc_call_post(struct grpc_call *call, enum grpc_call_event event) {
  if (!call->is_running || !call->server)
    return;
  call->pending_events |= event;
  loop_defer(call->server->loop, &call->events_task);
}

static void run_event(struct grpc_call *call, enum grpc_call_event event, loop_task_cb *cb) {
  if (!(call->pending_events & event))
    return;
  call->pending_events &= ~(unsigned)event;
  if (!cb)
    return;
  call->reported_events |= event;
  cb(call->events_arg);
}

static void run_events(void *arg) {
  struct grpc_call *call = arg;
  const struct grpc_call_events events = call->events;
  call->is_in_events = true;
  run_event(call, EVENT_CANCEL, events.on_cancel);
  run_event(call, EVENT_WRITABLE, events.on_writable);
  run_event(call, EVENT_DRAIN, events.on_drain);
  call->is_in_events = false;
  free_if_over(call);
}

void grpc_call_set_events(struct grpc_call *call, const struct grpc_call_events *events,
                          void *arg) {
  call->events = *events;
  call->events_arg = arg;
  if (call->is_cancelled && !(call->reported_events & EVENT_CANCEL))
    grpc_call_post(call, EVENT_CANCEL);
  if (call->server && call->server->ends_streams && !(call->reported_events & EVENT_DRAIN))
    grpc_call_post(call, EVENT_DRAIN);
}

/* ---- the handler's side ---- */

void grpc_call_end_with(struct grpc_call *call, struct grpc_status *status) {
  const Google__Rpc__Status *proto = grpc_status_proto(status);
  struct str message = str_z(grpc_status_message(status));
  if (proto->n_details == 0) {
    grpc_call_end(call, grpc_status_code(status), message, str_of(NULL, 0));
    return;
  }
  uint8_t *packed = xmalloc(google__rpc__status__get_packed_size(proto));
  size_t len = google__rpc__status__pack(proto, packed);
  grpc_call_end(call, grpc_status_code(status), message, str_of(packed, len));
  free(packed);
}

void grpc_call_refuse(struct grpc_call *call, struct grpc_status *status) {
  grpc_call_end_with(call, status);
  grpc_status_free(status);
  cancel_handler(call);
}

void grpc_call_finish(struct grpc_call *call, struct grpc_status *status) {
  assert(call->is_running);
  if (call->is_stream_open && !call->is_ended) {
    if (status)
      grpc_call_end_with(call, status);
    else
      grpc_call_end(call, GRPC_OK, str_of(NULL, 0), str_of(NULL, 0));
  }
  grpc_status_free(status);
  call->is_running = false;
  call->pending_events = 0;
  if (call->server)
    loop_cancel(call->server->loop, &call->events_task);
  free_if_over(call);
}

int64_t grpc_call_deadline_us(const struct grpc_call *call) {
  return call->deadline.at_us;
}

bool grpc_call_is_cancelled(const struct grpc_call *call) {
  return call->is_cancelled;
}

bool grpc_call_metadata(const struct grpc_call *call, size_t *offset, struct str *ret_key,
                        struct str *ret_value) {
  return grpc_metadata_next(&call->request.metadata, offset, ret_key, ret_value);
}

void grpc_call_drop_metadata(struct grpc_call *call) {
  grpc_metadata_deinit(&call->request.metadata);
}

void grpc_call_set_context(struct grpc_call *call, void *context) {
  call->context = context;
}

void *grpc_call_context(const struct grpc_call *call) {
  return call->context;
}

struct str grpc_call_peer_address(const struct grpc_call *call) {
  return net_conn_peer_address(call->session->conn);
}

const struct peer_names *grpc_call_peer_names(const struct grpc_call *call) {
  return net_conn_peer_names(call->session->conn);
}

uint64_t grpc_call_connection(const struct grpc_call *call) {
  return call->account->number;
}

void grpc_call_set_caller(struct grpc_call *call, void *caller, void (*free_caller)(void *caller)) {
  assert(!call->caller);
  call->caller = caller;
  call->free_caller = free_caller;
}

void *grpc_call_caller(const struct grpc_call *call) {
  return call->caller;
}
