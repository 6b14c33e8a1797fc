/*
 * fault_client: makes calls to a server that does wrong, and tells how each of them ended.
 *
 *   fault_client TARGET [--calls=N] [--at-once] [--again] [--stream] [--poll] [--timeout=MS]
 *     [--connect-timeout=MS] [--attempts=N] [--request-bytes=N] [--max-message=N]
 *     [--ca-file=FILE] [--server-name=NAME]
 *
 * N calls, one after the other or all at once; with --again one more at the end, which waits for a
 * connection that works. Unary ones, blocking or in a loop of ours (--poll), or streams, which send
 * one message. Prints a line for each: the code, how many messages came, and the status message,
 * with tabs between them; bytes of it that aren't printable ASCII as \xNN.
 */
#include "auditstore/auditstore.h"

#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CALLS        100
#define LOOP_TIMEOUT_MS  60000
#define AGAIN_TIMEOUT_MS 30000

struct options {
  int calls, timeout_ms, connect_timeout_ms, attempts, request_bytes, max_message;
  bool is_at_once, is_again, is_stream, polls;
  const char *ca_file, *server_name;
};

struct client {
  struct options options;
  struct auditstore_channel *channel;
  Auditstore__V1__GetEventRequest request;
};

struct outcome {
  struct client *client;
  bool waits_for_ready;
  bool is_done;
  enum auditstore_code code;
  int messages;
  char *message;
};

enum {
  CALLS = 1,
  TIMEOUT,
  CONNECT_TIMEOUT,
  ATTEMPTS,
  REQUEST,
  MAX_MESSAGE,
  AT_ONCE,
  AGAIN,
  STREAM,
  POLL,
  CA_FILE,
  SERVER_NAME
};

static const struct option long_options[] = {
    {"calls", required_argument, NULL, CALLS},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"connect-timeout", required_argument, NULL, CONNECT_TIMEOUT},
    {"attempts", required_argument, NULL, ATTEMPTS},
    {"request-bytes", required_argument, NULL, REQUEST},
    {"max-message", required_argument, NULL, MAX_MESSAGE},
    {"at-once", no_argument, NULL, AT_ONCE},
    {"again", no_argument, NULL, AGAIN},
    {"stream", no_argument, NULL, STREAM},
    {"poll", no_argument, NULL, POLL},
    {"ca-file", required_argument, NULL, CA_FILE},
    {"server-name", required_argument, NULL, SERVER_NAME},
    {0},
};

static int number_of(const char *text) {
  return (int)strtol(text, NULL, 10);
}

static bool take_number(struct options *o, int option) {
  int *const numbers[] = {[CALLS] = &o->calls,
                          [TIMEOUT] = &o->timeout_ms,
                          [CONNECT_TIMEOUT] = &o->connect_timeout_ms,
                          [ATTEMPTS] = &o->attempts,
                          [REQUEST] = &o->request_bytes,
                          [MAX_MESSAGE] = &o->max_message};
  if (option < CALLS || option > MAX_MESSAGE)
    return false;
  *numbers[option] = number_of(optarg);
  return true;
}

static bool take_flag(struct options *o, int option) {
  bool *const flags[] = {[AT_ONCE] = &o->is_at_once,
                         [AGAIN] = &o->is_again,
                         [STREAM] = &o->is_stream,
                         [POLL] = &o->polls};
  if (option < AT_ONCE || option > POLL)
    return false;
  *flags[option] = true;
  return true;
}

static bool parse(struct options *o, int argc, char **argv) {
  int option = 0;
  while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    if (option == CA_FILE)
      o->ca_file = optarg;
    else if (option == SERVER_NAME)
      o->server_name = optarg;
    else if (!take_number(o, option) && !take_flag(o, option))
      return false;
  }
  return optind == argc - 1 && o->calls <= MAX_CALLS;
}

/* ---- calls ---- */

static void end(struct outcome *outcome, int messages, const struct auditstore_status *status) {
  outcome->is_done = true;
  outcome->code = status->code;
  outcome->messages = messages;
  outcome->message = strdup(status->message ? status->message : "");
}

static struct auditstore_call_options call_options(const struct outcome *outcome) {
  return (struct auditstore_call_options){
      .timeout_ms =
          outcome->waits_for_ready ? AGAIN_TIMEOUT_MS : outcome->client->options.timeout_ms,
      .wait_for_ready = outcome->waits_for_ready,
  };
}

static void call_unary(struct outcome *outcome) {
  const struct auditstore_call_options options = call_options(outcome);
  Auditstore__V1__GetEventResponse *response = NULL;
  struct auditstore_status status = {0};
  auditstore_v1_audit_store_get_event(outcome->client->channel, &outcome->client->request,
                                      &response, &options, &status);
  end(outcome, response != NULL, &status);
  auditstore__v1__get_event_response__free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
}

static void call_stream(struct outcome *outcome) {
  const struct auditstore_call_options options = call_options(outcome);
  const Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  Auditstore__V1__StreamEventsResponse *response = NULL;
  struct auditstore_status status = {0};
  int messages = 0;
  struct auditstore_v1_audit_store_stream_events_stream *stream =
      auditstore_v1_audit_store_stream_events_open(outcome->client->channel, &options, &status);
  if (stream) {
    (void)auditstore_v1_audit_store_stream_events_send(stream, &request, -1);
    auditstore_v1_audit_store_stream_events_half_close(stream);
    while (auditstore_v1_audit_store_stream_events_recv(stream, &response, -1) ==
           AUDITSTORE_STREAM_OK) {
      auditstore__v1__stream_events_response__free_unpacked(response, NULL);
      messages++;
    }
    auditstore_v1_audit_store_stream_events_finish(stream, &status);
  }
  end(outcome, messages, &status);
  auditstore_status_deinit(&status);
}

static void *call_blocking(void *arg) {
  struct outcome *outcome = arg;
  if (outcome->client->options.is_stream)
    call_stream(outcome);
  else
    call_unary(outcome);
  return NULL;
}

/* ---- in a loop ---- */

static void on_done(void *arg, ProtobufCMessage *response, const struct auditstore_status *status) {
  end(arg, response != NULL, status);
  if (response)
    protobuf_c_message_free_unpacked(response, NULL);
}

static void start(struct outcome *outcome) {
  const struct auditstore_call_options options = call_options(outcome);
  const struct auditstore_unary call = {&auditstore_v1_audit_store_get_event_method,
                                        &outcome->client->request.base, &options};
  struct auditstore_status status = {0};
  if (auditstore_call_start(outcome->client->channel, &call, on_done, outcome, &status) !=
      AUDITSTORE_OK)
    end(outcome, 0, &status);
  auditstore_status_deinit(&status);
}

static void loop_until_done(const struct outcome *outcome) {
  struct auditstore_channel *channel = outcome->client->channel;
  struct pollfd fd = {.fd = auditstore_channel_fd(channel), .events = POLLIN};
  while (!outcome->is_done && poll(&fd, 1, LOOP_TIMEOUT_MS) == 1)
    auditstore_channel_dispatch(channel);
}

/* ---- all of them ---- */

static void run_at_once(bool polls, struct outcome *outcomes, int count) {
  pthread_t threads[MAX_CALLS];
  for (int i = 0; i < count; i++)
    if (polls)
      start(&outcomes[i]);
    else
      pthread_create(&threads[i], NULL, call_blocking, &outcomes[i]);
  for (int i = 0; i < count; i++)
    if (polls)
      loop_until_done(&outcomes[i]);
    else
      pthread_join(threads[i], NULL);
}

static void run_one(bool polls, struct outcome *outcome) {
  if (polls) {
    start(outcome);
    loop_until_done(outcome);
  } else {
    call_blocking(outcome);
  }
}

/* A number that is no code is told as such. */
static void print_code(const struct outcome *outcome) {
  if (!outcome->is_done)
    fputs("STILL OPEN", stdout);
  else if (outcome->code > AUDITSTORE_UNAUTHENTICATED)
    printf("%d", (int)outcome->code);
  else
    fputs(auditstore_code_name(outcome->code), stdout);
}

static void print(struct outcome *outcome) {
  print_code(outcome);
  printf("\t%d\t", outcome->messages);
  for (const char *at = outcome->message; at && *at; at++)
    printf(*at >= ' ' && *at <= '~' ? "%c" : "\\x%02x", (unsigned char)*at);
  putchar('\n');
  free(outcome->message);
}

static void run(struct client *client) {
  struct outcome outcomes[MAX_CALLS + 1];
  int count = client->options.calls;
  bool polls = client->options.polls;
  for (int i = 0; i <= MAX_CALLS; i++)
    outcomes[i] = (struct outcome){.client = client, .waits_for_ready = i == count};
  if (client->options.is_at_once)
    run_at_once(polls, outcomes, count);
  else
    for (int i = 0; i < count; i++)
      run_one(polls, &outcomes[i]);
  if (client->options.is_again)
    run_one(polls, &outcomes[count++]);
  for (int i = 0; i < count; i++)
    print(&outcomes[i]);
}

static struct auditstore_channel *open_channel(const char *target, const struct options *o) {
  const struct auditstore_tls_options tls = {.ca_file = o->ca_file, .server_name = o->server_name};
  const struct auditstore_channel_options options = {
      .connect_timeout_ms = o->connect_timeout_ms,
      .max_message_bytes = (size_t)o->max_message,
      .tls = o->ca_file ? &tls : NULL,
      .backoff = {.initial_ms = 10, .max_ms = 100},
      .retry = {.max_attempts = o->attempts, .initial_backoff_ms = 1, .max_backoff_ms = 10},
  };
  struct auditstore_status status = {0};
  struct auditstore_channel *channel = auditstore_channel_new(target, &options, &status);
  if (!channel)
    fprintf(stderr, "%s: %s\n", target, status.message);
  auditstore_status_deinit(&status);
  return channel;
}

int main(int argc, char **argv) {
  struct client client = {.options = {.calls = 1, .timeout_ms = 20000, .attempts = 1}};
  auditstore__v1__get_event_request__init(&client.request);
  if (!parse(&client.options, argc, argv)) {
    fputs("usage: fault_client TARGET [OPTION...]\n", stderr);
    return 2;
  }
  char *id = calloc(1, (size_t)client.options.request_bytes + 1);
  memset(id, 'x', (size_t)client.options.request_bytes);
  client.request.event_id = id;
  client.channel = open_channel(argv[optind], &client.options);
  if (client.channel)
    run(&client);
  auditstore_channel_free(client.channel);
  free(id);
  return client.channel ? EXIT_SUCCESS : EXIT_FAILURE;
}
