#include "bench/event.h"

static char text_type[] = SAMPLE_TYPE;
static char text_category[] = SAMPLE_CATEGORY;
static char text_action[] = SAMPLE_ACTION;
static char text_actor_type[] = SAMPLE_ACTOR_TYPE;
static char text_ip[] = SAMPLE_IP;
static char text_resource_type[] = SAMPLE_RESOURCE_TYPE;
static char text_namespace[] = SAMPLE_NAMESPACE;

void bench_event_init(struct bench_event *e) {
  auditstore__v1__audit_event__init(&e->event);
  auditstore__v1__actor__init(&e->actor);
  auditstore__v1__resource__init(&e->resource);
  google__protobuf__timestamp__init(&e->time);
  google__protobuf__duration__init(&e->duration);
  e->event.event_id = e->sample.id_text;
  e->event.event_time = &e->time;
  e->event.event_type = text_type;
  e->event.event_category = text_category;
  e->event.event_action = text_action;
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  e->event.severity = AUDITSTORE__V1__SEVERITY__SEVERITY_INFO;
  e->event.actor = &e->actor;
  e->actor.type = text_actor_type;
  e->actor.id = e->sample.actor_id;
  e->actor.ip = text_ip;
  e->event.resource = &e->resource;
  e->resource.type = text_resource_type;
  e->resource.id = e->sample.resource_id;
  e->resource.namespace_ = text_namespace;
  e->event.correlation_id = e->sample.correlation_id;
  e->event.duration = &e->duration;
  e->duration.nanos = 1500000;
  e->event.event_data = e->sample.event_data;
}

void bench_event_refill(struct bench_event *e, struct uuid_v7 *ids, int64_t number) {
  sample_make(&e->sample, ids, number);
  e->time.seconds = e->sample.time_us / 1000000;
  e->time.nanos = (int32_t)(e->sample.time_us % 1000000) * 1000;
}
