#include "ledger/event.h"

#include <string.h>

const struct event_text_field event_text_fields[EVENT_TEXT_COUNT] = {
#define EVENT_TEXT_ROW(name, path, column, max_bytes, required) {path, column, max_bytes, required},
    EVENT_TEXT_FIELDS(EVENT_TEXT_ROW)
#undef EVENT_TEXT_ROW
};

#define US_PER_S 1000000

static ProtobufCBinaryData to_bytes(struct str text) {
  return (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)text.data};
}

/* Whether any of the texts first..last is there: an absent part has no message of its own. */
static bool has_text(const struct event *e, enum event_text first, enum event_text last) {
  for (int i = (int)first; i <= (int)last; i++) {
    if (e->text[i].len)
      return true;
  }
  return false;
}

static bool put_uuid(const struct uuid *uuid, struct arena *arena, ProtobufCBinaryData *ret) {
  char *text = arena_alloc(arena, UUID_TEXT_LEN);
  if (!text)
    return false;
  uuid_format(uuid, text);
  *ret = to_bytes(str_of(text, UUID_TEXT_LEN));
  return true;
}

static Google__Protobuf__Timestamp *make_timestamp(int64_t us, struct arena *arena) {
  Google__Protobuf__Timestamp *t = arena_alloc(arena, sizeof(*t));
  if (!t)
    return NULL;
  google__protobuf__timestamp__init(t);
  int64_t rest = us % US_PER_S;
  /* Before 1970 the fraction still counts forward. */
  if (rest < 0)
    rest += US_PER_S;
  t->seconds = (us - rest) / US_PER_S;
  t->nanos = (int32_t)rest * 1000;
  return t;
}

static bool put_duration(const struct event *e, struct arena *arena,
                         Auditstore__V1__AuditEvent *message) {
  if (e->duration_us < 0)
    return true;
  Google__Protobuf__Duration *d = arena_alloc(arena, sizeof(*d));
  if (!d)
    return false;
  google__protobuf__duration__init(d);
  d->seconds = e->duration_us / US_PER_S;
  d->nanos = (int32_t)(e->duration_us % US_PER_S) * 1000;
  message->duration = d;
  return true;
}

static bool put_ip(const struct pg_inet *ip, struct arena *arena, ProtobufCBinaryData *ret) {
  if (!ip->length)
    return true;
  char *text = arena_alloc(arena, PG_INET_TEXT_SIZE);
  if (!text)
    return false;
  *ret = to_bytes(str_of(text, pg_inet_format(ip, text)));
  return true;
}

static bool put_actor(const struct event *e, struct arena *arena,
                      Auditstore__V1__AuditEvent *message) {
  if (!e->actor_ip.length && !has_text(e, EVENT_TEXT_ACTOR_TYPE, EVENT_TEXT_ACTOR_ID))
    return true;
  Auditstore__V1__Actor *actor = arena_alloc(arena, sizeof(*actor));
  if (!actor)
    return false;
  auditstore__v1__actor__init(actor);
  actor->type = to_bytes(e->text[EVENT_TEXT_ACTOR_TYPE]);
  actor->id = to_bytes(e->text[EVENT_TEXT_ACTOR_ID]);
  message->actor = actor;
  return put_ip(&e->actor_ip, arena, &actor->ip);
}

static bool put_resource(const struct event *e, struct arena *arena,
                         Auditstore__V1__AuditEvent *message) {
  if (!has_text(e, EVENT_TEXT_RESOURCE_TYPE, EVENT_TEXT_CLUSTER))
    return true;
  Auditstore__V1__Resource *resource = arena_alloc(arena, sizeof(*resource));
  if (!resource)
    return false;
  auditstore__v1__resource__init(resource);
  resource->type = to_bytes(e->text[EVENT_TEXT_RESOURCE_TYPE]);
  resource->id = to_bytes(e->text[EVENT_TEXT_RESOURCE_ID]);
  resource->name = to_bytes(e->text[EVENT_TEXT_RESOURCE_NAME]);
  resource->namespace_ = to_bytes(e->text[EVENT_TEXT_NAMESPACE]);
  resource->cluster = to_bytes(e->text[EVENT_TEXT_CLUSTER]);
  message->resource = resource;
  return true;
}

static bool put_error(const struct event *e, struct arena *arena,
                      Auditstore__V1__AuditEvent *message) {
  if (!has_text(e, EVENT_TEXT_ERROR_CODE, EVENT_TEXT_ERROR_MESSAGE))
    return true;
  Auditstore__V1__EventError *error = arena_alloc(arena, sizeof(*error));
  if (!error)
    return false;
  auditstore__v1__event_error__init(error);
  error->code = to_bytes(e->text[EVENT_TEXT_ERROR_CODE]);
  error->message = to_bytes(e->text[EVENT_TEXT_ERROR_MESSAGE]);
  message->error = error;
  return true;
}

static void put_scalars(const struct event *e, Auditstore__V1__AuditEvent *message) {
  message->event_type = to_bytes(e->text[EVENT_TEXT_EVENT_TYPE]);
  message->event_category = to_bytes(e->text[EVENT_TEXT_EVENT_CATEGORY]);
  message->event_action = to_bytes(e->text[EVENT_TEXT_EVENT_ACTION]);
  message->event_version = to_bytes(e->text[EVENT_TEXT_EVENT_VERSION]);
  message->outcome = (Auditstore__V1__Outcome)e->outcome;
  message->severity = (Auditstore__V1__Severity)e->severity;
  message->correlation_id = to_bytes(e->text[EVENT_TEXT_CORRELATION_ID]);
  message->trace_id = to_bytes(e->text[EVENT_TEXT_TRACE_ID]);
  message->span_id = to_bytes(e->text[EVENT_TEXT_SPAN_ID]);
  message->retention_days = e->retention_days;
  message->sensitive = e->is_sensitive;
  message->event_data = to_bytes(e->text[EVENT_TEXT_EVENT_DATA]);
}

static Auditstore__V1__AuditEvent *make_event(const struct event *e, struct arena *arena) {
  Auditstore__V1__AuditEvent *message = arena_alloc(arena, sizeof(*message));
  if (!message)
    return NULL;
  auditstore__v1__audit_event__init(message);
  put_scalars(e, message);
  message->event_time = make_timestamp(e->time_us, arena);
  bool ok = message->event_time && put_uuid(&e->id, arena, &message->event_id) &&
            put_duration(e, arena, message) && put_actor(e, arena, message) &&
            put_resource(e, arena, message) && put_error(e, arena, message);
  if (ok && e->has_parent)
    ok = put_uuid(&e->parent_id, arena, &message->parent_event_id);
  return ok ? message : NULL;
}

Auditstore__V1__StoredEvent *stored_event_to_proto(const struct stored_event *stored,
                                                   struct arena *arena) {
  Auditstore__V1__StoredEvent *message = arena_alloc(arena, sizeof(*message));
  if (!message)
    return NULL;
  auditstore__v1__stored_event__init(message);
  message->event = make_event(&stored->event, arena);
  message->received_at = make_timestamp(stored->place.received_us, arena);
  message->ledger_id = stored->place.ledger_id;
  message->sequence = stored->place.sequence;
  message->principal = to_bytes(stored->place.principal);
  return message->event && message->received_at ? message : NULL;
}
