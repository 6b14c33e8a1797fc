/*
 * cases: the official interoperability cases (grpc/grpc, doc/interop-test-descriptions.md) on
 * libauditstore, as a program of a user's: its public headers, the shared library, and stubs made
 * from interop.proto by protoc-gen-auditstore-c.
 *
 * A case returns when it has passed; otherwise it says what was wrong and ends the program.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "interop.stub.h"

/* As no call may hang. */
#define DEADLINE_MS 60000

struct options {
  const char *host;
  const char *port;
  const char *test_case;
  bool uses_tls;
  const char *ca_file;
  const char *cert_file;
  const char *key_file;
  const char *server_name;
  bool polls; /* unary calls by auditstore_call_start() in a loop of ours */
  int soak_iterations;
  int soak_max_failures;
};

struct client {
  const struct options *options;
  struct auditstore_channel *channel;
};

typedef void case_fn(struct client *client);

/* NULL: there is none of that name. */
case_fn *case_named(const char *name);
void case_print_names(void);

struct auditstore_channel *open_channel(const struct options *options);

void require(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void require_code(const struct auditstore_status *status, enum auditstore_code code);

/* ---- unary calls ---- */

struct exchange {
  const struct auditstore_method *method;
  const ProtobufCMessage *request;
  struct auditstore_call_options options;
  void (*check)(const ProtobufCMessage *response, const struct auditstore_status *status);
};

/* Makes the call, in the way that the options say, and checks how it ended. */
void exchange_run(struct client *client, const struct exchange *exchange);

/* The same `count` times at once: from several threads, or from one loop. */
void exchange_run_many(struct client *client, const struct exchange *exchange, int count);

/* A UnaryCall of 271828 bytes there and 314159 back, the first of all payloads. */
struct large {
  Grpc__Testing__SimpleRequest request;
  Grpc__Testing__Payload payload;
};
struct exchange large_init(struct large *large);
void check_large(const ProtobufCMessage *response, const struct auditstore_status *status);

extern const struct auditstore_metadata echoed_metadata[2];
void check_echoed(const struct auditstore_status *status);

extern const int request_sizes[4];
extern const int response_sizes[4];

/* So many zeros, up to 4 MiB. */
ProtobufCBinaryData zeros(int size);

/* A StreamingOutputCall whose answers have these sizes. */
void receive_all(struct client *client, const Grpc__Testing__StreamingOutputCallRequest *request,
                 const int *sizes);

/* ---- the cases, by file ---- */

case_fn empty_unary, large_unary, unary_metadata, unary_status, special_status_message,
    unimplemented_method, unimplemented_service;
case_fn client_streaming, server_streaming, ping_pong, half_duplex, empty_stream,
    cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server, stream_metadata,
    stream_status;
case_fn client_compressed_unary, client_compressed_unary_noprobe, server_compressed_unary,
    client_compressed_streaming, client_compressed_streaming_noprobe, server_compressed_streaming;
case_fn concurrent_large_unary, rpc_soak, channel_soak, pick_first_unary;
