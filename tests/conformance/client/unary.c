/* Cases of one message for one. */
#include "cases.h"

#include <string.h>

#define LARGE_REQUEST_BYTES  271828
#define LARGE_RESPONSE_BYTES 314159

struct exchange large_init(struct large *large) {
  grpc__testing__simple_request__init(&large->request);
  grpc__testing__payload__init(&large->payload);
  large->request.response_size = LARGE_RESPONSE_BYTES;
  large->request.payload = &large->payload;
  large->payload.body = zeros(LARGE_REQUEST_BYTES);
  return (struct exchange){
      .method = &grpc_testing_test_service_unary_call_method,
      .request = (const ProtobufCMessage *)&large->request,
      .options = {.timeout_ms = DEADLINE_MS},
      .check = check_large,
  };
}

void check_large(const ProtobufCMessage *response, const struct auditstore_status *status) {
  require_code(status, AUDITSTORE_OK);
  const Grpc__Testing__Payload *payload =
      ((const Grpc__Testing__SimpleResponse *)response)->payload;
  ProtobufCBinaryData wanted = zeros(LARGE_RESPONSE_BYTES);
  require(payload && payload->body.len == wanted.len &&
              memcmp(payload->body.data, wanted.data, wanted.len) == 0,
          "the answer isn't %d zeros", LARGE_RESPONSE_BYTES);
}

/* With the typed function of the stub, unless in a loop. */
void large_unary(struct client *client) {
  struct large large;
  const struct exchange exchange = large_init(&large);
  Grpc__Testing__SimpleResponse *response = NULL;
  struct auditstore_status status = {0};
  if (client->options->polls) {
    exchange_run(client, &exchange);
    return;
  }
  grpc_testing_test_service_unary_call(client->channel, &large.request, &response,
                                       &exchange.options, &status);
  check_large((const ProtobufCMessage *)response, &status);
  grpc__testing__simple_response__free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
}

static void check_empty(const ProtobufCMessage *response, const struct auditstore_status *status) {
  require_code(status, AUDITSTORE_OK);
  require(protobuf_c_message_get_packed_size(response) == 0, "the answer isn't empty");
}

/* An EmptyCall, or a call to what isn't there. */
static void call_empty(struct client *client, const struct auditstore_method *method,
                       void (*check)(const ProtobufCMessage *, const struct auditstore_status *)) {
  const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
  const struct exchange exchange = {
      .method = method,
      .request = (const ProtobufCMessage *)&request,
      .options = {.timeout_ms = DEADLINE_MS},
      .check = check,
  };
  exchange_run(client, &exchange);
}

void empty_unary(struct client *client) {
  call_empty(client, &grpc_testing_test_service_empty_call_method, check_empty);
}

static void check_unimplemented(const ProtobufCMessage *response,
                                const struct auditstore_status *status) {
  require_code(status, AUDITSTORE_UNIMPLEMENTED);
  require(response == NULL, "an answer with an error");
}

static void call_missing(struct client *client, const char *path) {
  const struct auditstore_method method = {
      .path = path,
      .input = &grpc__testing__empty__descriptor,
      .output = &grpc__testing__empty__descriptor,
  };
  call_empty(client, &method, check_unimplemented);
}

void unimplemented_method(struct client *client) {
  call_missing(client, "/grpc.testing.TestService/UnimplementedCall");
}

void unimplemented_service(struct client *client) {
  call_missing(client, "/grpc.testing.UnimplementedService/UnimplementedCall");
}

static void check_metadata(const ProtobufCMessage *response,
                           const struct auditstore_status *status) {
  check_large(response, status);
  check_echoed(status);
}

void unary_metadata(struct client *client) {
  struct large large;
  struct exchange exchange = large_init(&large);
  exchange.options.metadata = echoed_metadata;
  exchange.options.metadata_count = 2;
  exchange.check = check_metadata;
  exchange_run(client, &exchange);
}

/* ---- statuses ---- */

static char status_text[] = "test status message";
static char special_text[] =
    "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n";

static void check_text(const struct auditstore_status *status, const char *text) {
  require_code(status, AUDITSTORE_UNKNOWN);
  require(status->message && strcmp(status->message, text) == 0, "the message is %s",
          status->message ? status->message : "missing");
}

static void check_status_text(const ProtobufCMessage *response,
                              const struct auditstore_status *status) {
  (void)response;
  check_text(status, status_text);
}

static void check_special_text(const ProtobufCMessage *response,
                               const struct auditstore_status *status) {
  (void)response;
  check_text(status, special_text);
}

static void call_for_status(struct client *client, char *text,
                            void (*check)(const ProtobufCMessage *,
                                          const struct auditstore_status *)) {
  Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
  Grpc__Testing__EchoStatus wanted = GRPC__TESTING__ECHO_STATUS__INIT;
  wanted.code = AUDITSTORE_UNKNOWN;
  wanted.message = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
  request.response_status = &wanted;
  const struct exchange exchange = {
      .method = &grpc_testing_test_service_unary_call_method,
      .request = (const ProtobufCMessage *)&request,
      .options = {.timeout_ms = DEADLINE_MS},
      .check = check,
  };
  exchange_run(client, &exchange);
}

void unary_status(struct client *client) {
  call_for_status(client, status_text, check_status_text);
}

void special_status_message(struct client *client) {
  call_for_status(client, special_text, check_special_text);
}
