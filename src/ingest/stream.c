#include "ingest/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "ingest/answers.h"
#include "ingest/write.h"

#define BATCH_ID_MAX_BYTES 128

/*
 *   message ─▶ waiting ─▶ in ingest ─▶ unsent ─▶ gone
 *               (queue full)            (peer doesn't read)
 *
 * A batch that is refused at once goes straight to unsent. The call ends when all three are empty
 * and no more can come: the peer half-closed (OK), is gone, or we stop (UNAVAILABLE).
 */
struct stream {
  struct stream_env *env; /* borrowed */
  struct grpc_call *call;
  struct ingest_source *source;
  struct list waiting; /* struct write.link */
  struct list unsent;
  int in_flight;
  struct ingest_waiter waiter;
  bool is_half_closed;
  bool is_cancelled;
  bool is_draining;
};

/* ---- the end ---- */

static bool stream_is_done(const struct stream *stream) {
  bool no_more = stream->is_half_closed || stream->is_cancelled || stream->is_draining;
  return no_more && stream->in_flight == 0 && stream->waiting.count == 0 &&
         stream->unsent.count == 0;
}

/* Frees the stream when nothing is left to be done. */
static void stream_end_if_done(struct stream *stream) {
  if (!stream_is_done(stream))
    return;
  ingest_cancel_wait(stream->env->ingest, &stream->waiter);
  ingest_source_free(stream->source);
  bool is_ok = stream->is_half_closed || stream->is_cancelled;
  grpc_call_finish(stream->call, is_ok ? NULL : answer_stopping());
  free(stream);
}

/* ---- answers ---- */

static void send_ack(struct stream *stream, struct write *write) {
  struct arena arena;
  arena_init(&arena, write_output_max_bytes(write));
  struct write_output output;
  write_fill_output(write, &arena, &output);
  Auditstore__V1__StreamEventsResponse ack;
  auditstore__v1__stream_events_response__init(&ack);
  ack.batch_id =
      (ProtobufCBinaryData){.len = write->batch_id.len, .data = (uint8_t *)write->batch_id.data};
  if (write->failure)
    ack.status = (Google__Rpc__Status *)grpc_status_proto(write->failure);
  ack.n_receipts = output.receipt_count;
  ack.receipts = output.receipts;
  ack.n_event_ids = output.id_count;
  ack.event_ids = output.ids;
  ack.n_rejected = output.rejected_count;
  ack.rejected = output.rejected;
  auditstore_v1_audit_store_stream_events_send(stream->call, &ack);
  arena_deinit(&arena);
}

/* Hands out what the peer takes; for a peer that is gone, drops it. */
static void stream_flush(struct stream *stream) {
  while (stream->unsent.first && (stream->is_cancelled || grpc_call_is_writable(stream->call))) {
    struct write *write = LIST_ENTRY(list_pop_front(&stream->unsent), struct write, link);
    if (!stream->is_cancelled)
      send_ack(stream, write);
    write_free(write);
  }
  stream_end_if_done(stream);
}

static void on_batch_done(struct ingest_request *request, struct grpc_status *failure) {
  struct write *write = (struct write *)request; /* its first member */
  struct stream *stream = request->arg;
  write->failure = failure;
  write_count_results(write);
  stream->in_flight--;
  list_push_back(&stream->unsent, &write->link);
  stream_flush(stream);
}

/* ---- into ingest ---- */

/* False: the queue is full. */
static bool stream_submit(struct stream *stream, struct write *write) {
  write->request.deadline_us = grpc_call_deadline_us(stream->call);
  write->request.on_done = on_batch_done;
  write->request.arg = stream;
  int rc = ingest_submit(stream->env->ingest, stream->source, &write->request);
  if (rc == ERR_EXHAUSTED)
    return false;
  if (rc == 0) {
    stream->in_flight++;
  } else {
    write->failure = ingest_refusal(stream->env->ingest, (enum error_code)rc);
    list_push_back(&stream->unsent, &write->link);
  }
  return true;
}

static void stream_resume(void *arg) {
  struct stream *stream = arg;
  struct list_link *link = NULL;
  while ((link = list_pop_front(&stream->waiting))) {
    if (stream_submit(stream, LIST_ENTRY(link, struct write, link)))
      continue;
    list_push_front(&stream->waiting, link);
    ingest_wait_writable(stream->env->ingest, &stream->waiter);
    break;
  }
  stream_flush(stream);
}

/* Behind what waits already, so that the order is kept. */
static void stream_take(struct stream *stream, struct write *write) {
  if (write->failure || write->request.count == 0) {
    list_push_back(&stream->unsent, &write->link);
    stream_flush(stream);
    return;
  }
  list_push_back(&stream->waiting, &write->link);
  if (!stream->waiter.is_waiting)
    stream_resume(stream);
}

/* ---- events of the call ---- */

static void on_cancel(void *arg) {
  struct stream *stream = arg;
  struct list_link *link = NULL;
  stream->is_cancelled = true;
  ingest_cancel_wait(stream->env->ingest, &stream->waiter);
  while ((link = list_pop_front(&stream->waiting)))
    write_free(LIST_ENTRY(link, struct write, link));
  stream_flush(stream);
}

static void on_writable(void *arg) {
  stream_flush(arg);
}

static void on_drain(void *arg) {
  struct stream *stream = arg;
  stream->is_draining = true;
  stream_end_if_done(stream);
}

static struct stream *stream_new(struct stream_env *env, struct grpc_call *call) {
  static const struct grpc_call_events events = {
      .on_cancel = on_cancel, .on_writable = on_writable, .on_drain = on_drain};
  struct stream *stream = xcalloc(1, sizeof(*stream));
  stream->env = env;
  stream->call = call;
  stream->source = ingest_source_new(env->ingest);
  stream->waiter.cb = stream_resume;
  stream->waiter.arg = stream;
  stream->is_cancelled = grpc_call_is_cancelled(call);
  grpc_call_set_context(call, stream);
  grpc_call_set_events(call, &events, stream);
  return stream;
}

/* The name goes back as it came, or not at all when it is no text of the allowed length. */
static void name_write(struct write *write, ProtobufCBinaryData batch_id) {
  struct str name = str_of(batch_id.data, batch_id.len);
  if (name.len > BATCH_ID_MAX_BYTES)
    grpc_status_violate(&write->failure, "batch_id", "has %zu bytes; at most %d are allowed",
                        name.len, BATCH_ID_MAX_BYTES);
  else if (!utf8_is_storable(name))
    grpc_status_violate(&write->failure, "batch_id", "must be valid UTF-8 without NUL");
  else
    write->batch_id = name;
}

struct write *stream_env_write(struct stream_env *env, const struct write_input *input,
                               struct grpc_message *message) {
  env->validator.now_us = clock_wall_us(env->loop->clock);
  env->validator.clocks = server_clock_difference(env->server_clock);
  struct write *write = write_new(&env->validator, input, message);
  if (env->validator.is_clock_in_doubt)
    server_clock_count_refusal(env->server_clock);
  return write;
}

void stream_handle(struct stream_env *env, struct grpc_call *call,
                   const Auditstore__V1__StreamEventsRequest *request,
                   struct grpc_message *message) {
  struct stream *stream = grpc_call_context(call);
  if (!stream)
    stream = stream_new(env, call);
  if (!message) {
    stream->is_half_closed = true;
    stream_end_if_done(stream);
    return;
  }
  /* What isn't answered, its sender sends again elsewhere. */
  if (stream->is_draining || stream->is_cancelled) {
    grpc_message_release(message);
    return;
  }
  struct write_input input = {.events = request->events,
                              .count = request->n_events,
                              .mode = request->mode,
                              .wants_proof = request->want_proof};
  write_input_admit(&input, &env->validator, call, message);
  struct write *write = stream_env_write(env, &input, message);
  name_write(write, request->batch_id);
  stream_take(stream, write);
}
