#include "ingest/service.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "ingest/answers.h"
#include "ingest/oversize.h"
#include "ingest/stream.h"
#include "ingest/write.h"

struct ingest_service {
  struct stream_env env; /* what unary calls need as well */
};

struct ingest_service *ingest_service_new(struct loop *loop, struct ingest *ingest,
                                          struct server_clock *server_clock,
                                          struct partitions *partitions,
                                          const struct config_ingest *config) {
  struct ingest_service *service = xcalloc(1, sizeof(*service));
  service->env.loop = loop;
  service->env.ingest = ingest;
  service->env.server_clock = server_clock;
  service->env.validator.config = config;
  service->env.validator.partitions = partitions;
  return service;
}

void ingest_service_free(struct ingest_service *service) {
  free(service);
}

static struct grpc_status *on_costly(void *arg, const struct grpc_method *method, struct str body) {
  const struct ingest_service *service = arg;
  return oversize_refusal(service->env.validator.config, method, body);
}

void ingest_service_limit(struct ingest_service *service, struct grpc_server *server) {
  grpc_server_set_room(server, &auditstore_v1_audit_store_service,
                       oversize_room_bytes(service->env.validator.config));
  grpc_server_on_costly(server, on_costly, service);
}

/* ---- WriteEvents ---- */

static void send_response(struct grpc_call *call, const struct write *write) {
  struct arena arena;
  arena_init(&arena, write_output_max_bytes(write));
  struct write_output output;
  write_fill_output(write, &arena, &output);
  Auditstore__V1__WriteEventsResponse response;
  auditstore__v1__write_events_response__init(&response);
  response.n_receipts = output.receipt_count;
  response.receipts = output.receipts;
  response.n_event_ids = output.id_count;
  response.event_ids = output.ids;
  response.n_rejected = output.rejected_count;
  response.rejected = output.rejected;
  auditstore_v1_audit_store_write_events_send(call, &response);
  arena_deinit(&arena);
}

static void finish_unary(struct grpc_call *call, struct write *write) {
  struct grpc_status *failure = write->failure;
  write->failure = NULL;
  if (!failure)
    send_response(call, write);
  write_free(write);
  grpc_call_finish(call, failure);
}

static void on_unary_done(struct ingest_request *request, struct grpc_status *failure) {
  struct write *write = (struct write *)request; /* its first member */
  write->failure = failure;
  write_count_results(write);
  finish_unary(request->arg, write);
}

static void handle_write_events(void *arg, struct grpc_call *call,
                                const Auditstore__V1__WriteEventsRequest *request,
                                struct grpc_message *message) {
  struct ingest_service *service = arg;
  struct write_input input = {.events = request->events,
                              .count = request->n_events,
                              .mode = request->mode,
                              .wants_proof = request->want_proof};
  write_input_admit(&input, &service->env.validator, call, message);
  struct write *write = stream_env_write(&service->env, &input, message);
  if (write->failure || write->request.count == 0) {
    finish_unary(call, write);
    return;
  }
  write->request.deadline_us = grpc_call_deadline_us(call);
  write->request.on_done = on_unary_done;
  write->request.arg = call;
  int rc = ingest_submit(service->env.ingest, NULL, &write->request);
  if (rc < 0) {
    write->failure = ingest_refusal(service->env.ingest, (enum error_code)rc);
    finish_unary(call, write);
  }
}

/* ---- both ---- */

static void handle_stream_events(void *arg, struct grpc_call *call,
                                 const Auditstore__V1__StreamEventsRequest *request,
                                 struct grpc_message *message) {
  struct ingest_service *service = arg;
  stream_handle(&service->env, call, request, message);
}

void ingest_service_fill(struct ingest_service *service,
                         struct auditstore_v1_audit_store_handlers *handlers) {
  handlers->write_events.handle = handle_write_events;
  handlers->write_events.service = service;
  handlers->stream_events.handle = handle_stream_events;
  handlers->stream_events.service = service;
}
