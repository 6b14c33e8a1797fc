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
#include "ingest/validate.h"

/* What all streams share. */
struct stream_env {
  struct loop *loop;
  struct ingest *ingest;
  struct validator validator;
};

/* The method's handler. `env` must outlive the call. */
void stream_handle(struct stream_env *env, struct grpc_call *call,
                   const Auditstore__V1__StreamEventsRequest *request,
                   struct grpc_message *message);
