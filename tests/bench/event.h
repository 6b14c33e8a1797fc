/*
 * event: the sample event as a client's message.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "bench/sample.h"

struct bench_event {
  Auditstore__V1__AuditEvent event;
  Auditstore__V1__Actor actor;
  Auditstore__V1__Resource resource;
  Google__Protobuf__Timestamp time;
  Google__Protobuf__Duration duration;
  struct sample sample;
};

/* Links the parts; the content comes with bench_event_refill(). */
void bench_event_init(struct bench_event *e);

/* The number-th event. */
void bench_event_refill(struct bench_event *e, struct uuid_v7 *ids, int64_t number);
