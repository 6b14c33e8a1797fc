#include "bench/stream.h"

#include "auditstore/auditstore.h"
#include "bench/event.h"

#include <stdio.h>
#include <stdlib.h>

struct stream_state {
  const struct stream_config *config;
  struct auditstore_channel *channel;
  struct auditstore_v1_audit_store_stream_events_stream *stream;
  struct bench_event *events;
  Auditstore__V1__AuditEvent **pointers;
  struct uuid_v7 ids;
  int64_t next;
  int in_flight;
  int64_t stored;
};

static void *stream_prepare(const void *config, int worker) {
  (void)worker;
  const struct stream_config *c = config;
  static struct stream_state state; /* of this process, for its whole life */
  struct stream_state *s = &state;
  s->config = c;
  s->events = calloc((size_t)c->batch_events, sizeof(*s->events));
  s->pointers = calloc((size_t)c->batch_events, sizeof(Auditstore__V1__AuditEvent *));
  s->channel = auditstore_channel_new(c->server, NULL, NULL);
  struct auditstore_status status = {0};
  const struct auditstore_call_options options = {.timeout_ms = 600000};
  s->stream = auditstore_v1_audit_store_stream_events_open(s->channel, &options, &status);
  if (!s->events || !s->pointers || !s->stream) {
    fprintf(stderr, "bench: %s\n", status.message ? status.message : "out of memory");
    return NULL;
  }
  for (int i = 0; i < c->batch_events; i++) {
    bench_event_init(&s->events[i]);
    s->pointers[i] = &s->events[i].event;
  }
  return s;
}

static bool stream_send_batch(struct stream_state *s) {
  int64_t left = s->config->events_per_worker - s->next;
  int count = left < s->config->batch_events ? (int)left : s->config->batch_events;
  for (int i = 0; i < count; i++)
    bench_event_refill(&s->events[i], &s->ids, s->next++);
  Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  request.n_events = (size_t)count;
  request.events = s->pointers;
  s->in_flight++;
  return auditstore_v1_audit_store_stream_events_send(s->stream, &request, -1) ==
         AUDITSTORE_STREAM_OK;
}

static bool stream_take_answer(struct stream_state *s) {
  Auditstore__V1__StreamEventsResponse *answer = NULL;
  if (auditstore_v1_audit_store_stream_events_recv(s->stream, &answer, -1) != AUDITSTORE_STREAM_OK)
    return false;
  s->in_flight--;
  bool ok = !answer->status || answer->status->code == 0;
  if (!ok)
    fprintf(stderr, "bench: batch refused: %s\n", answer->status->message);
  for (size_t i = 0; i < answer->n_receipts; i++)
    s->stored += answer->receipts[i]->count;
  auditstore__v1__stream_events_response__free_unpacked(answer, NULL);
  return ok;
}

static int stream_run(void *arg) {
  struct stream_state *s = arg;
  bool ok = true;
  while (ok && s->next < s->config->events_per_worker) {
    ok = stream_send_batch(s);
    while (ok && s->in_flight >= s->config->batches_in_flight)
      ok = stream_take_answer(s);
  }
  while (ok && s->in_flight > 0)
    ok = stream_take_answer(s);
  struct auditstore_status status = {0};
  enum auditstore_code code = auditstore_v1_audit_store_stream_events_finish(s->stream, &status);
  if (code != AUDITSTORE_OK)
    fprintf(stderr, "bench: stream ended %s: %s\n", auditstore_code_name(code),
            status.message ? status.message : "");
  return ok && code == AUDITSTORE_OK && s->stored == s->config->events_per_worker ? 0 : 1;
}

struct worker_task stream_task(const struct stream_config *config) {
  return (struct worker_task){.prepare = stream_prepare, .run = stream_run, .config = config};
}
