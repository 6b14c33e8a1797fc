/*
 * stream: one StreamEvents call: its batches on their way in, its answers on their way out.
 *
 * Each message is held, with its flow-control credit, until its answer has been handed to a
 * connection that takes it: so a peer that sends faster than we store, or reads slower than we
 * answer, is slowed by its own window, and the memory of a stream is bounded by that window.
 */
#pragma once

#include "auditstore/v1/audit_store.service.h"
#include "ingest/ingest.h"
#include "ingest/write.h"
#include "pg/server_clock.h"

/* What all streams share. */
struct stream_env {
  struct loop *loop;
  struct ingest *ingest;
  struct server_clock *server_clock;
  struct validator validator;
};

/* write_new() by the clocks as they are now; unary calls use it as well. */
struct write *stream_env_write(struct stream_env *env, const struct write_input *input,
                               struct grpc_message *message);

/* The method's handler. `env` must outlive the call. */
void stream_handle(struct stream_env *env, struct grpc_call *call,
                   const Auditstore__V1__StreamEventsRequest *request,
                   struct grpc_message *message);
