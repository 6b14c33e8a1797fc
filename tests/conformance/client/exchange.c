/* Unary calls, blocking or in a loop. */
#include "cases.h"

#include <poll.h>
#include <pthread.h>

#define THREADS 20

/* ---- blocking ---- */

static void call_blocking(struct client *client, const struct exchange *exchange) {
  const struct auditstore_unary call = {exchange->method, exchange->request, &exchange->options};
  ProtobufCMessage *response = NULL;
  struct auditstore_status status = {0};
  enum auditstore_code code = auditstore_call_unary(client->channel, &call, &response, &status);
  require(code == status.code, "the status isn't what was returned");
  exchange->check(response, &status);
  if (response)
    protobuf_c_message_free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
}

struct caller {
  struct client *client;
  const struct exchange *exchange;
  int count;
};

static void *call_again_and_again(void *arg) {
  const struct caller *caller = arg;
  for (int i = 0; i < caller->count; i++)
    call_blocking(caller->client, caller->exchange);
  return NULL;
}

static void call_from_threads(struct client *client, const struct exchange *exchange, int count) {
  pthread_t threads[THREADS];
  struct caller caller = {client, exchange, count / THREADS};
  for (int i = 0; i < THREADS; i++)
    require(pthread_create(&threads[i], NULL, call_again_and_again, &caller) == 0, "no thread");
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

/* ---- in a loop ---- */

struct pending {
  const struct exchange *exchange;
  int count;
};

static void on_done(void *arg, ProtobufCMessage *response, const struct auditstore_status *status) {
  struct pending *pending = arg;
  pending->exchange->check(response, status);
  if (response)
    protobuf_c_message_free_unpacked(response, NULL);
  pending->count--;
}

static void call_in_loop(struct client *client, const struct exchange *exchange, int count) {
  const struct auditstore_unary call = {exchange->method, exchange->request, &exchange->options};
  struct pending pending = {exchange, count};
  struct auditstore_status status = {0};
  struct pollfd fd = {.fd = auditstore_channel_fd(client->channel), .events = POLLIN};
  require(fd.fd >= 0, "no descriptor");
  for (int i = 0; i < count; i++) {
    auditstore_call_start(client->channel, &call, on_done, &pending, &status);
    require_code(&status, AUDITSTORE_OK);
  }
  while (pending.count > 0) {
    require(poll(&fd, 1, DEADLINE_MS) == 1, "nothing happens, and %d calls are open",
            pending.count);
    auditstore_channel_dispatch(client->channel);
  }
  auditstore_status_deinit(&status);
}

void exchange_run(struct client *client, const struct exchange *exchange) {
  if (client->options->polls)
    call_in_loop(client, exchange, 1);
  else
    call_blocking(client, exchange);
}

void exchange_run_many(struct client *client, const struct exchange *exchange, int count) {
  if (client->options->polls)
    call_in_loop(client, exchange, count);
  else
    call_from_threads(client, exchange, count);
}
