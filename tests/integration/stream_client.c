/*
 * stream_client: streams numbered events and sends again whatever isn't acknowledged, as a careful
 * client would, until all are. For tests that break things meanwhile.
 *
 *   stream_client SERVER EVENTS BATCH [NAME=VALUE...]
 *
 * Names: ca, cert, key and token (files, by TLS when ca is there), compress (1).
 *
 * Event i has the id 00000000-0000-8000-8000-<i in 12 hex digits>, so that a test can say exactly
 * which events must be stored. Prints "acked N" after every 1000 events and "done sent-again B"
 * at the end, B being the number of batches that were sent more than once.
 */
#include "auditstore/auditstore.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW         32
#define BASE_SECONDS   1767225600 /* 2026-01-01 */
#define RETRY_PAUSE_MS 20

struct client {
  struct auditstore_channel *channel;
  struct auditstore_v1_audit_store_stream_events_stream *stream;
  int events, batch_events, batches;
  bool *is_done;
  bool *is_sent;
  int *sent_times;
  int next; /* batches before it were sent at least once or are done */
  int in_flight, done;
  int64_t acked;
  bool compresses;
};

struct numbered {
  Auditstore__V1__AuditEvent event;
  Google__Protobuf__Timestamp time;
  char id[37];
};

static char text_type[] = "test.numbered";
static char text_category[] = "test";
static char text_action[] = "count";

static void fill(struct numbered *e, int number) {
  snprintf(e->id, sizeof(e->id), "00000000-0000-8000-8000-%012x", (unsigned)number);
  auditstore__v1__audit_event__init(&e->event);
  google__protobuf__timestamp__init(&e->time);
  e->time.seconds = BASE_SECONDS + number % 86400;
  e->event.event_id = e->id;
  e->event.event_time = &e->time;
  e->event.event_type = text_type;
  e->event.event_category = text_category;
  e->event.event_action = text_action;
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
}

static bool send_batch(struct client *c, int number) {
  int first = number * c->batch_events;
  int count = c->events - first < c->batch_events ? c->events - first : c->batch_events;
  struct numbered *events = calloc((size_t)count, sizeof(*events));
  Auditstore__V1__AuditEvent **pointers =
      calloc((size_t)count, sizeof(Auditstore__V1__AuditEvent *));
  char id[16];
  snprintf(id, sizeof(id), "%d", number);
  for (int i = 0; i < count; i++) {
    fill(&events[i], first + i);
    pointers[i] = &events[i].event;
  }
  Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  request.batch_id = id;
  request.n_events = (size_t)count;
  request.events = pointers;
  bool ok =
      auditstore_v1_audit_store_stream_events_send(c->stream, &request, -1) == AUDITSTORE_STREAM_OK;
  free(pointers);
  free(events);
  c->is_sent[number] = true;
  c->sent_times[number]++;
  c->in_flight++;
  return ok;
}

/* The first batch that is neither done nor under way. */
static int next_batch(struct client *c) {
  for (int i = c->next; i < c->batches; i++)
    if (!c->is_done[i] && !c->is_sent[i])
      return i;
  return -1;
}

static bool is_worth_retrying(int code) {
  return code == AUDITSTORE_UNAVAILABLE || code == AUDITSTORE_RESOURCE_EXHAUSTED ||
         code == AUDITSTORE_DEADLINE_EXCEEDED;
}

static void pause_ms(int ms) {
  poll(NULL, 0, ms);
}

static void count_receipts(struct client *c, const Auditstore__V1__StreamEventsResponse *answer) {
  int64_t before = c->acked / 1000;
  for (size_t i = 0; i < answer->n_receipts; i++)
    c->acked += answer->receipts[i]->count;
  if (c->acked / 1000 == before)
    return;
  printf("acked %lld\n", (long long)c->acked);
  fflush(stdout);
}

static void take_answer(struct client *c, const Auditstore__V1__StreamEventsResponse *answer) {
  int number = (int)strtol(answer->batch_id, NULL, 10);
  int code = answer->status ? answer->status->code : 0;
  c->in_flight--;
  c->is_sent[number] = false;
  if (code == 0) {
    c->is_done[number] = true;
    c->done++;
    count_receipts(c, answer);
    return;
  }
  if (!is_worth_retrying(code)) {
    fprintf(stderr, "batch %d refused: %d %s\n", number, code, answer->status->message);
    exit(1);
  }
  c->next = 0;
  int64_t advice = auditstore_rpc_status_retry_delay_ms(answer->status);
  pause_ms(advice > 0 && advice < 1000 ? (int)advice : RETRY_PAUSE_MS);
}

static bool pump(struct client *c) {
  int number = -1;
  while (c->in_flight < WINDOW && (number = next_batch(c)) >= 0) {
    c->next = number + 1;
    if (!send_batch(c, number))
      return false;
  }
  Auditstore__V1__StreamEventsResponse *answer = NULL;
  if (auditstore_v1_audit_store_stream_events_recv(c->stream, &answer, -1) != AUDITSTORE_STREAM_OK)
    return false;
  take_answer(c, answer);
  auditstore__v1__stream_events_response__free_unpacked(answer, NULL);
  return true;
}

/* What was under way when the stream broke may be stored or not: all of it is sent again. */
static void forget_in_flight(struct client *c) {
  memset(c->is_sent, 0, (size_t)c->batches * sizeof(*c->is_sent));
  c->in_flight = 0;
  c->next = 0;
}

static void run(struct client *c) {
  const struct auditstore_call_options options = {
      .timeout_ms = 300000, .wait_for_ready = true, .compress = c->compresses};
  while (c->done < c->batches) {
    struct auditstore_status status = {0};
    c->stream = auditstore_v1_audit_store_stream_events_open(c->channel, &options, &status);
    if (!c->stream) {
      fprintf(stderr, "open: %s\n", status.message ? status.message : "");
      exit(1);
    }
    while (c->done < c->batches && pump(c))
      ;
    enum auditstore_code code = auditstore_v1_audit_store_stream_events_finish(c->stream, &status);
    if (code != AUDITSTORE_OK && !is_worth_retrying((int)code)) {
      fprintf(stderr, "stream ended %s: %s\n", auditstore_code_name(code),
              status.message ? status.message : "");
      exit(1);
    }
    auditstore_status_deinit(&status);
    forget_in_flight(c);
  }
}

/* NULL: not given. */
static const char *value_of(char **args, const char *name) {
  size_t len = strlen(name);
  for (; *args; args++)
    if (strncmp(*args, name, len) == 0 && (*args)[len] == '=')
      return *args + len + 1;
  return NULL;
}

static struct auditstore_channel *open_channel(const char *server, char **args) {
  const struct auditstore_tls_options tls = {
      .ca_file = value_of(args, "ca"),
      .cert_file = value_of(args, "cert"),
      .key_file = value_of(args, "key"),
  };
  /* Tests stop the server and start it again at once. */
  const struct auditstore_channel_options options = {
      .tls = tls.ca_file ? &tls : NULL,
      .token_file = value_of(args, "token"),
      .backoff = {.initial_ms = 50, .max_ms = 1000},
  };
  struct auditstore_status status = {0};
  struct auditstore_channel *channel = auditstore_channel_new(server, &options, &status);
  if (!channel) {
    fprintf(stderr, "channel: %s\n", status.message ? status.message : "");
    exit(1);
  }
  return channel;
}

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  struct client c = {
      .channel = open_channel(argv[1], argv + 4),
      .compresses = value_of(argv + 4, "compress") != NULL,
      .events = (int)strtol(argv[2], NULL, 10),
      .batch_events = (int)strtol(argv[3], NULL, 10),
  };
  c.batches = (c.events + c.batch_events - 1) / c.batch_events;
  c.is_done = calloc((size_t)c.batches, sizeof(*c.is_done));
  c.is_sent = calloc((size_t)c.batches, sizeof(*c.is_sent));
  c.sent_times = calloc((size_t)c.batches, sizeof(*c.sent_times));
  if (!c.is_done || !c.is_sent || !c.sent_times)
    exit(1);
  run(&c);
  int again = 0;
  for (int i = 0; i < c.batches; i++)
    again += c.sent_times[i] > 1;
  printf("done sent-again %d\n", again);
  auditstore_channel_free(c.channel);
  free(c.is_done);
  free(c.is_sent);
  free(c.sent_times);
  return 0;
}
