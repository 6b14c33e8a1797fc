/* Cases of streams. */
#include "cases.h"

#include <string.h>

#define COUNT 4

typedef struct grpc_testing_test_service_full_duplex_call_stream duplex_stream;

static const struct auditstore_call_options within_deadline = {.timeout_ms = DEADLINE_MS};
static const struct auditstore_call_options echoing = {
    .timeout_ms = DEADLINE_MS, .metadata = echoed_metadata, .metadata_count = 2};

static duplex_stream *open_duplex(struct client *client,
                                  const struct auditstore_call_options *options) {
  struct auditstore_status status = {0};
  duplex_stream *stream =
      grpc_testing_test_service_full_duplex_call_open(client->channel, options, &status);
  require(stream != NULL, "no stream: %s", status.message);
  return stream;
}

/* Asks for one answer of `size` bytes, with a payload of its own; a size below 0: for none. */
static enum auditstore_stream_result send_request(duplex_stream *stream, int size,
                                                  int request_size) {
  Grpc__Testing__StreamingOutputCallRequest request =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
  Grpc__Testing__ResponseParameters *all[] = {&parameters};
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  parameters.size = size;
  payload.body = zeros(request_size);
  request.n_response_parameters = size < 0 ? 0 : 1;
  request.response_parameters = all;
  request.payload = &payload;
  return grpc_testing_test_service_full_duplex_call_send(stream, &request, -1);
}

static void check_answer(Grpc__Testing__StreamingOutputCallResponse *response, int size) {
  ProtobufCBinaryData wanted = zeros(size);
  require(response->payload && response->payload->body.len == wanted.len &&
              memcmp(response->payload->body.data, wanted.data, wanted.len) == 0,
          "the answer isn't %d zeros", size);
  grpc__testing__streaming_output_call_response__free_unpacked(response, NULL);
}

static void receive(duplex_stream *stream, int size) {
  Grpc__Testing__StreamingOutputCallResponse *response = NULL;
  require(grpc_testing_test_service_full_duplex_call_recv(stream, &response, -1) ==
              AUDITSTORE_STREAM_OK,
          "no answer of %d bytes", size);
  check_answer(response, size);
}

static void receive_end(duplex_stream *stream) {
  Grpc__Testing__StreamingOutputCallResponse *response = NULL;
  require(grpc_testing_test_service_full_duplex_call_recv(stream, &response, -1) ==
              AUDITSTORE_STREAM_END,
          "an answer too many");
}

static void finish(duplex_stream *stream, enum auditstore_code code) {
  struct auditstore_status status = {0};
  grpc_testing_test_service_full_duplex_call_finish(stream, &status);
  require_code(&status, code);
  auditstore_status_deinit(&status);
}

/* ---- data ---- */

void client_streaming(struct client *client) {
  struct auditstore_status status = {0};
  struct grpc_testing_test_service_streaming_input_call_stream *stream =
      grpc_testing_test_service_streaming_input_call_open(client->channel, &within_deadline,
                                                          &status);
  require(stream != NULL, "no stream: %s", status.message);
  for (int i = 0; i < COUNT; i++) {
    Grpc__Testing__StreamingInputCallRequest request =
        GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body = zeros(request_sizes[i]);
    request.payload = &payload;
    require(grpc_testing_test_service_streaming_input_call_send(stream, &request, -1) ==
                AUDITSTORE_STREAM_OK,
            "message %d wasn't sent", i);
  }
  grpc_testing_test_service_streaming_input_call_half_close(stream);
  Grpc__Testing__StreamingInputCallResponse *response = NULL;
  require(grpc_testing_test_service_streaming_input_call_recv(stream, &response, -1) ==
              AUDITSTORE_STREAM_OK,
          "no answer");
  require(response->aggregated_payload_size == 74922, "the sum is %d",
          response->aggregated_payload_size);
  grpc__testing__streaming_input_call_response__free_unpacked(response, NULL);
  grpc_testing_test_service_streaming_input_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_OK);
  auditstore_status_deinit(&status);
}

void receive_all(struct client *client, const Grpc__Testing__StreamingOutputCallRequest *request,
                 const int *sizes) {
  struct auditstore_status status = {0};
  struct grpc_testing_test_service_streaming_output_call_stream *stream =
      grpc_testing_test_service_streaming_output_call_open(client->channel, request,
                                                           &within_deadline, &status);
  require(stream != NULL, "no stream: %s", status.message);
  Grpc__Testing__StreamingOutputCallResponse *response = NULL;
  size_t count = 0;
  while (grpc_testing_test_service_streaming_output_call_recv(stream, &response, -1) ==
         AUDITSTORE_STREAM_OK) {
    require(count < request->n_response_parameters, "an answer too many");
    check_answer(response, sizes[count++]);
  }
  grpc_testing_test_service_streaming_output_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_OK);
  require(count == request->n_response_parameters, "%zu answers", count);
  auditstore_status_deinit(&status);
}

void server_streaming(struct client *client) {
  Grpc__Testing__StreamingOutputCallRequest request =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  Grpc__Testing__ResponseParameters parameters[COUNT];
  Grpc__Testing__ResponseParameters *all[COUNT];
  for (int i = 0; i < COUNT; i++) {
    grpc__testing__response_parameters__init(&parameters[i]);
    parameters[i].size = response_sizes[i];
    all[i] = &parameters[i];
  }
  request.n_response_parameters = COUNT;
  request.response_parameters = all;
  receive_all(client, &request, response_sizes);
}

void ping_pong(struct client *client) {
  duplex_stream *stream = open_duplex(client, &within_deadline);
  for (int i = 0; i < COUNT; i++) {
    require(send_request(stream, response_sizes[i], request_sizes[i]) == AUDITSTORE_STREAM_OK,
            "message %d wasn't sent", i);
    receive(stream, response_sizes[i]);
  }
  grpc_testing_test_service_full_duplex_call_half_close(stream);
  receive_end(stream);
  finish(stream, AUDITSTORE_OK);
}

/* Nothing is read before all is sent. */
void half_duplex(struct client *client) {
  duplex_stream *stream = open_duplex(client, &within_deadline);
  for (int i = 0; i < COUNT; i++)
    require(send_request(stream, response_sizes[i], 0) == AUDITSTORE_STREAM_OK,
            "message %d wasn't sent", i);
  grpc_testing_test_service_full_duplex_call_half_close(stream);
  for (int i = 0; i < COUNT; i++)
    receive(stream, response_sizes[i]);
  receive_end(stream);
  finish(stream, AUDITSTORE_OK);
}

void empty_stream(struct client *client) {
  duplex_stream *stream = open_duplex(client, &within_deadline);
  grpc_testing_test_service_full_duplex_call_half_close(stream);
  receive_end(stream);
  finish(stream, AUDITSTORE_OK);
}

/* ---- early ends ---- */

void cancel_after_begin(struct client *client) {
  struct auditstore_status status = {0};
  struct grpc_testing_test_service_streaming_input_call_stream *stream =
      grpc_testing_test_service_streaming_input_call_open(client->channel, &within_deadline,
                                                          &status);
  require(stream != NULL, "no stream: %s", status.message);
  grpc_testing_test_service_streaming_input_call_cancel(stream);
  grpc_testing_test_service_streaming_input_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_CANCELLED);
  auditstore_status_deinit(&status);
  /* The connection is as good as before. */
  empty_unary(client);
}

void cancel_after_first_response(struct client *client) {
  duplex_stream *stream = open_duplex(client, &within_deadline);
  require(send_request(stream, 31415, 27182) == AUDITSTORE_STREAM_OK, "nothing was sent");
  receive(stream, 31415);
  grpc_testing_test_service_full_duplex_call_cancel(stream);
  finish(stream, AUDITSTORE_CANCELLED);
  empty_unary(client);
}

void timeout_on_sleeping_server(struct client *client) {
  /* The connection is there already, so that it is the server which sleeps. */
  empty_unary(client);
  const struct auditstore_call_options at_once = {.timeout_ms = 1};
  struct auditstore_status status = {0};
  duplex_stream *stream =
      grpc_testing_test_service_full_duplex_call_open(client->channel, &at_once, &status);
  if (stream) {
    (void)send_request(stream, -1, 27182);
    receive_end(stream);
    grpc_testing_test_service_full_duplex_call_finish(stream, &status);
  }
  require_code(&status, AUDITSTORE_DEADLINE_EXCEEDED);
  auditstore_status_deinit(&status);
  empty_unary(client);
}

/* ---- what comes beside the data ---- */

void stream_metadata(struct client *client) {
  duplex_stream *stream = open_duplex(client, &echoing);
  struct auditstore_status status = {0};
  require(send_request(stream, 314159, 271828) == AUDITSTORE_STREAM_OK, "nothing was sent");
  grpc_testing_test_service_full_duplex_call_half_close(stream);
  receive(stream, 314159);
  receive_end(stream);
  grpc_testing_test_service_full_duplex_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_OK);
  check_echoed(&status);
  auditstore_status_deinit(&status);
}

void stream_status(struct client *client) {
  static char text[] = "test status message";
  duplex_stream *stream = open_duplex(client, &within_deadline);
  struct auditstore_status status = {0};
  Grpc__Testing__StreamingOutputCallRequest request =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  Grpc__Testing__EchoStatus wanted = GRPC__TESTING__ECHO_STATUS__INIT;
  wanted.code = AUDITSTORE_UNKNOWN;
  wanted.message = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
  request.response_status = &wanted;
  (void)grpc_testing_test_service_full_duplex_call_send(stream, &request, -1);
  grpc_testing_test_service_full_duplex_call_half_close(stream);
  receive_end(stream);
  grpc_testing_test_service_full_duplex_call_finish(stream, &status);
  require_code(&status, AUDITSTORE_UNKNOWN);
  require(status.message && strcmp(status.message, text) == 0, "the message is %s",
          status.message ? status.message : "missing");
  auditstore_status_deinit(&status);
}
