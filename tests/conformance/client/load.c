/* Cases of many calls. */
#include "cases.h"

#include <pthread.h>
#include <string.h>

#define CONCURRENT       1000
#define PICK_FIRST_CALLS 100
#define ID_BYTES         256

void concurrent_large_unary(struct client *client) {
  struct large large;
  const struct exchange exchange = large_init(&large);
  /* Threads that block have one call each at a time. */
  exchange_run_many(client, &exchange, client->options->polls ? CONCURRENT : CONCURRENT / 5);
}

/* ---- soak ---- */

static bool call_large(struct client *client) {
  struct large large;
  const struct exchange exchange = large_init(&large);
  Grpc__Testing__SimpleResponse *response = NULL;
  enum auditstore_code code = grpc_testing_test_service_unary_call(
      client->channel, &large.request, &response, &exchange.options, NULL);
  grpc__testing__simple_response__free_unpacked(response, NULL);
  return code == AUDITSTORE_OK;
}

static void check_failures(const struct client *client, int failures) {
  require(failures <= client->options->soak_max_failures, "%d of %d calls failed", failures,
          client->options->soak_iterations);
}

void rpc_soak(struct client *client) {
  int failures = 0;
  for (int i = 0; i < client->options->soak_iterations; i++)
    failures += !call_large(client);
  check_failures(client, failures);
}

void channel_soak(struct client *client) {
  int failures = 0;
  for (int i = 0; i < client->options->soak_iterations; i++) {
    struct client other = {.options = client->options, .channel = open_channel(client->options)};
    failures += !call_large(&other);
    auditstore_channel_free(other.channel);
  }
  check_failures(client, failures);
}

/* ---- one server ---- */

static void check_is_same(const Grpc__Testing__SimpleResponse *response, char *id) {
  size_t len = response->server_id.len;
  require(len > 0 && len < ID_BYTES, "no id of the server's");
  if (!id[0])
    memcpy(id, response->server_id.data, len);
  require(strlen(id) == len && memcmp(id, response->server_id.data, len) == 0,
          "another server answers");
}

void pick_first_unary(struct client *client) {
  char id[ID_BYTES] = "";
  for (int i = 0; i < PICK_FIRST_CALLS; i++) {
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__SimpleResponse *response = NULL;
    struct auditstore_status status = {0};
    request.response_size = 1;
    request.fill_server_id = true;
    grpc_testing_test_service_unary_call(client->channel, &request, &response, NULL, &status);
    require_code(&status, AUDITSTORE_OK);
    check_is_same(response, id);
    grpc__testing__simple_response__free_unpacked(response, NULL);
    auditstore_status_deinit(&status);
  }
}
