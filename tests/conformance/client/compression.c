/* Cases of compression. The library takes compressed answers to the calls that compress, and
 * doesn't tell which came so: those of the server check that what it sends is understood. */
#include "cases.h"

typedef struct grpc_testing_test_service_streaming_input_call_stream input_stream;

static void check_refused(const ProtobufCMessage *response,
                          const struct auditstore_status *status) {
  (void)response;
  require_code(status, AUDITSTORE_INVALID_ARGUMENT);
}

static void call_expecting(struct client *client, bool is_expected, bool is_compressed,
                           void (*check)(const ProtobufCMessage *,
                                         const struct auditstore_status *)) {
  struct large large;
  Grpc__Testing__BoolValue expected = GRPC__TESTING__BOOL_VALUE__INIT;
  struct exchange exchange = large_init(&large);
  expected.value = is_expected;
  large.request.expect_compressed = &expected;
  exchange.options.compress = is_compressed;
  exchange.check = check;
  exchange_run(client, &exchange);
}

void client_compressed_unary_noprobe(struct client *client) {
  call_expecting(client, true, true, check_large);
  call_expecting(client, false, false, check_large);
}

void client_compressed_unary(struct client *client) {
  call_expecting(client, true, false, check_refused);
  client_compressed_unary_noprobe(client);
}

void server_compressed_unary(struct client *client) {
  for (int is_compressed = 1; is_compressed >= 0; is_compressed--) {
    struct large large;
    Grpc__Testing__BoolValue wanted = GRPC__TESTING__BOOL_VALUE__INIT;
    const struct exchange exchange = large_init(&large);
    wanted.value = is_compressed;
    large.request.response_compressed = &wanted;
    exchange_run(client, &exchange);
  }
}

/* ---- streams ---- */

static input_stream *open_input(struct client *client, bool is_compressed) {
  const struct auditstore_call_options options = {.timeout_ms = DEADLINE_MS,
                                                  .compress = is_compressed};
  struct auditstore_status status = {0};
  input_stream *stream =
      grpc_testing_test_service_streaming_input_call_open(client->channel, &options, &status);
  require(stream != NULL, "no stream: %s", status.message);
  return stream;
}

static void send_expecting(input_stream *stream, bool is_expected, int size) {
  Grpc__Testing__StreamingInputCallRequest request =
      GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  Grpc__Testing__BoolValue expected = GRPC__TESTING__BOOL_VALUE__INIT;
  payload.body = zeros(size);
  expected.value = is_expected;
  request.payload = &payload;
  request.expect_compressed = &expected;
  (void)grpc_testing_test_service_streaming_input_call_send(stream, &request, -1);
}

/* The library compresses by call and by size: the second message goes out as it is since it is
 * small, not because somebody said so. */
void client_compressed_streaming_noprobe(struct client *client) {
  struct auditstore_status status = {0};
  Grpc__Testing__StreamingInputCallResponse *response = NULL;
  input_stream *stream = open_input(client, true);
  send_expecting(stream, true, 27182);
  send_expecting(stream, false, 904);
  grpc_testing_test_service_streaming_input_call_half_close(stream);
  if (grpc_testing_test_service_streaming_input_call_recv(stream, &response, -1) ==
      AUDITSTORE_STREAM_OK)
    require(response->aggregated_payload_size == 28086, "the sum is %d",
            response->aggregated_payload_size);
  grpc__testing__streaming_input_call_response__free_unpacked(response, NULL);
  grpc_testing_test_service_streaming_input_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_OK);
  auditstore_status_deinit(&status);
}

void client_compressed_streaming(struct client *client) {
  struct auditstore_status status = {0};
  input_stream *stream = open_input(client, false);
  send_expecting(stream, true, 27182);
  grpc_testing_test_service_streaming_input_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_INVALID_ARGUMENT);
  auditstore_status_deinit(&status);
  client_compressed_streaming_noprobe(client);
}

void server_compressed_streaming(struct client *client) {
  static const int sizes[2] = {31415, 92653};
  Grpc__Testing__StreamingOutputCallRequest request =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  Grpc__Testing__ResponseParameters parameters[2];
  Grpc__Testing__ResponseParameters *all[2] = {&parameters[0], &parameters[1]};
  Grpc__Testing__BoolValue wanted[2];
  for (int i = 0; i < 2; i++) {
    grpc__testing__response_parameters__init(&parameters[i]);
    grpc__testing__bool_value__init(&wanted[i]);
    parameters[i].size = sizes[i];
    parameters[i].compressed = &wanted[i];
    wanted[i].value = i == 0;
  }
  request.n_response_parameters = 2;
  request.response_parameters = all;
  receive_all(client, &request, sizes);
}
