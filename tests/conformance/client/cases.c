/* The names of the cases, and what several of them need. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#define ZEROS_BYTES (4 * 1024 * 1024)

const int request_sizes[4] = {27182, 8, 1828, 45904};
const int response_sizes[4] = {31415, 9, 2653, 58979};

static void custom_metadata(struct client *client) {
  unary_metadata(client);
  stream_metadata(client);
}

static void status_code_and_message(struct client *client) {
  unary_status(client);
  stream_status(client);
}

static const struct {
  const char *name;
  case_fn *run;
} cases[] = {
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"channel_soak", channel_soak},
    {"client_compressed_streaming", client_compressed_streaming},
    {"client_compressed_streaming_noprobe", client_compressed_streaming_noprobe},
    {"client_compressed_unary", client_compressed_unary},
    {"client_compressed_unary_noprobe", client_compressed_unary_noprobe},
    {"client_streaming", client_streaming},
    {"concurrent_large_unary", concurrent_large_unary},
    {"custom_metadata", custom_metadata},
    {"empty_stream", empty_stream},
    {"empty_unary", empty_unary},
    {"half_duplex", half_duplex},
    {"large_unary", large_unary},
    {"pick_first_unary", pick_first_unary},
    {"ping_pong", ping_pong},
    {"rpc_soak", rpc_soak},
    {"server_compressed_streaming", server_compressed_streaming},
    {"server_compressed_unary", server_compressed_unary},
    {"server_streaming", server_streaming},
    {"special_status_message", special_status_message},
    {"status_code_and_message", status_code_and_message},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
};

case_fn *case_named(const char *name) {
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    if (strcmp(cases[i].name, name) == 0)
      return cases[i].run;
  return NULL;
}

void case_print_names(void) {
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    fprintf(stderr, "  %s\n", cases[i].name);
}

ProtobufCBinaryData zeros(int size) {
  static uint8_t bytes[ZEROS_BYTES];
  return (ProtobufCBinaryData){(size_t)size, bytes};
}

const struct auditstore_metadata echoed_metadata[2] = {
    {"x-grpc-test-echo-initial", "test_initial_metadata_value", 27},
    {"x-grpc-test-echo-trailing-bin", "\xab\xab\xab", 3},
};

/* Of what comes back the library gives the trailing part. */
void check_echoed(const struct auditstore_status *status) {
  const struct auditstore_metadata *wanted = &echoed_metadata[1];
  for (size_t i = 0; i < status->trailer_count; i++) {
    const struct auditstore_metadata *got = &status->trailers[i];
    if (strcmp(got->key, wanted->key) == 0) {
      require(got->value_len == wanted->value_len &&
                  memcmp(got->value, wanted->value, got->value_len) == 0,
              "%s came back changed", wanted->key);
      return;
    }
  }
  require(false, "%s didn't come back", wanted->key);
}
