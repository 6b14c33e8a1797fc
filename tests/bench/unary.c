#include "bench/unary.h"

#include "auditstore/auditstore.h"
#include "base/clock.h"
#include "bench/event.h"

#include <stdio.h>

struct unary_state {
  const struct unary_config *config;
  int worker;
  struct auditstore_channel *channel;
  struct bench_event event;
  struct uuid_v7 ids;
};

static int64_t now_us(void) {
  return clock_monotonic_us(&clock_system);
}

static int call(struct unary_state *s, int number) {
  Auditstore__V1__AuditEvent *events[] = {&s->event.event};
  Auditstore__V1__WriteEventsRequest request = AUDITSTORE__V1__WRITE_EVENTS_REQUEST__INIT;
  Auditstore__V1__WriteEventsResponse *response = NULL;
  const struct auditstore_call_options options = {.timeout_ms = 60000};
  struct auditstore_status status = {0};
  bench_event_refill(&s->event, &s->ids, number);
  request.n_events = 1;
  request.events = events;
  enum auditstore_code code =
      auditstore_v1_audit_store_write_events(s->channel, &request, &response, &options, &status);
  if (code != AUDITSTORE_OK)
    fprintf(stderr, "bench: %s: %s\n", auditstore_code_name(code),
            status.message ? status.message : "");
  if (response)
    auditstore__v1__write_events_response__free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
  return code == AUDITSTORE_OK ? 0 : -1;
}

/* The channel connects with its first call: that one isn't measured. */
static void *unary_prepare(const void *config, int worker) {
  static struct unary_state state; /* of this process, for its whole life */
  state.config = config;
  state.worker = worker;
  state.channel = auditstore_channel_new(state.config->server, NULL, NULL);
  bench_event_init(&state.event);
  return state.channel && call(&state, -1) == 0 ? &state : NULL;
}

static int unary_run(void *arg) {
  struct unary_state *s = arg;
  for (int i = 0; i < s->config->latencies->per_worker; i++) {
    int64_t began_us = now_us();
    if (call(s, i) < 0)
      return 1;
    latencies_set(s->config->latencies, s->worker, i, now_us() - began_us);
  }
  return 0;
}

struct worker_task unary_task(const struct unary_config *config) {
  return (struct worker_task){.prepare = unary_prepare, .run = unary_run, .config = config};
}
