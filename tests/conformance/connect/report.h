/*
 * report: what a call's peer is told of what it sent.
 */
#pragma once

#include "conformance.pb-c.h"

#include "base/arena.h"
#include "grpc/server.h"

/* Embedded by its owner. */
struct report {
  struct arena arena; /* what info points to, but for the requests themselves */
  Connectrpc__Conformance__V1__ConformancePayload__RequestInfo info;
};

/* Room for so many requests. */
void report_init(struct report *report, size_t max_requests);
void report_deinit(struct report *report);

/* Adds the call's metadata and what is left of its time. */
void report_call(struct report *report, const struct grpc_call *call, int64_t now_us);

/* Adds one of those there is room for. */
void report_request(struct report *report, const ProtobufCMessage *request);

/* `error` as a packed google.rpc.Status, the report among its details when `has_info`. Lives as
 * long as the report. */
struct str report_status(struct report *report, const Connectrpc__Conformance__V1__Error *error,
                         bool has_info);
