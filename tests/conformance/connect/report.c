#include "report.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "google/rpc/status.pb-c.h"

#include <stdio.h>

#define MEMORY_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define NAME_MAX_BYTES   256

void report_init(struct report *report, size_t max_requests) {
  arena_init(&report->arena, MEMORY_MAX_BYTES);
  connectrpc__conformance__v1__conformance_payload__request_info__init(&report->info);
  report->info.requests = arena_calloc(&report->arena, max_requests, sizeof(void *));
}

void report_deinit(struct report *report) {
  arena_deinit(&report->arena);
}

/* ---- the call ---- */

static ProtobufCBinaryData bytes_of(struct str text) {
  return (ProtobufCBinaryData){text.len, (uint8_t *)text.data};
}

static size_t count_fields(const struct grpc_call *call) {
  struct str key;
  struct str value;
  size_t count = 0;
  for (size_t offset = 0; grpc_call_metadata(call, &offset, &key, &value);)
    count++;
  return count;
}

static Connectrpc__Conformance__V1__Header *field_of(struct report *report, struct str key) {
  for (size_t i = 0; i < report->info.n_request_headers; i++) {
    Connectrpc__Conformance__V1__Header *known = report->info.request_headers[i];
    if (str_equal(str_of(known->name.data, known->name.len), key))
      return known;
  }
  Connectrpc__Conformance__V1__Header *field = arena_alloc(&report->arena, sizeof(*field));
  connectrpc__conformance__v1__header__init(field);
  field->name = bytes_of(key);
  report->info.request_headers[report->info.n_request_headers++] = field;
  return field;
}

static void add_value(struct report *report, Connectrpc__Conformance__V1__Header *field,
                      struct str value) {
  ProtobufCBinaryData *values =
      arena_calloc(&report->arena, field->n_value + 1, sizeof(*field->value));
  for (size_t i = 0; i < field->n_value; i++)
    values[i] = field->value[i];
  values[field->n_value++] = bytes_of(value);
  field->value = values;
}

void report_call(struct report *report, const struct grpc_call *call, int64_t now_us) {
  int64_t deadline_us = grpc_call_deadline_us(call);
  struct str key;
  struct str value;
  report->info.request_headers = arena_calloc(&report->arena, count_fields(call), sizeof(void *));
  for (size_t offset = 0; grpc_call_metadata(call, &offset, &key, &value);)
    add_value(report, field_of(report, key), value);
  if (deadline_us == CLOCK_NEVER)
    return;
  report->info.timeout_case =
      CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__REQUEST_INFO__TIMEOUT_TIMEOUT_MS;
  report->info.timeout_ms = deadline_us > now_us ? (deadline_us - now_us) / 1000 : 0;
}

/* ---- messages in messages ---- */

static struct str pack(struct report *report, const ProtobufCMessage *message) {
  uint8_t *bytes = arena_alloc(&report->arena, protobuf_c_message_get_packed_size(message));
  return str_of(bytes, protobuf_c_message_pack(message, bytes));
}

static Google__Protobuf__Any *wrap(struct report *report, const ProtobufCMessage *message) {
  char url[NAME_MAX_BYTES];
  Google__Protobuf__Any *any = arena_alloc(&report->arena, sizeof(*any));
  int len = snprintf(url, sizeof(url), "type.googleapis.com/%s", message->descriptor->name);
  google__protobuf__any__init(any);
  struct str copy = str_of(url, (size_t)len);
  any->type_url = bytes_of(str_of(arena_strdup(&report->arena, copy), copy.len));
  any->value = bytes_of(pack(report, message));
  return any;
}

void report_request(struct report *report, const ProtobufCMessage *request) {
  report->info.requests[report->info.n_requests++] = wrap(report, request);
}

struct str report_status(struct report *report, const Connectrpc__Conformance__V1__Error *error,
                         bool has_info) {
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  status.code = error->code;
  status.message = error->message;
  status.details = arena_calloc(&report->arena, error->n_details + 1, sizeof(void *));
  for (size_t i = 0; i < error->n_details; i++)
    status.details[status.n_details++] = error->details[i];
  if (has_info)
    status.details[status.n_details++] = wrap(report, &report->info.base);
  return pack(report, &status.base);
}
