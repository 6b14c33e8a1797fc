#include "ingest/validate.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

#include "base/timestamp.h"
#include "ingest/json.h"

#define US_PER_S  1000000
#define NANOS_MAX 999999999
#define PATH_SIZE 64

/* One event under check. */
struct check {
  struct validator *validator;
  Auditstore__V1__AuditEvent *message;
  int index;
  struct event *event;
  struct grpc_status **status;
  bool is_valid;
};

static void violate(struct check *c, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void violate(struct check *c, const char *path, const char *format, ...) {
  c->is_valid = false;
  if (!*c->status)
    *c->status = grpc_status_new(GRPC_INVALID_ARGUMENT, "the request has invalid fields");
  char field[PATH_SIZE];
  snprintf(field, sizeof(field), "events[%d].%s", c->index, path);
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  grpc_status_add_violation(*c->status, field, "%s", text);
}

/* ---- texts ---- */

/* The message's texts in the order of enum event_text; those of absent parts are empty. */
static void collect_texts(const Auditstore__V1__AuditEvent *m,
                          ProtobufCBinaryData ret_texts[EVENT_TEXT_COUNT]) {
  static const Auditstore__V1__Actor no_actor;
  static const Auditstore__V1__Resource no_resource;
  static const Auditstore__V1__EventError no_error;
  const Auditstore__V1__Actor *actor = m->actor ? m->actor : &no_actor;
  const Auditstore__V1__Resource *resource = m->resource ? m->resource : &no_resource;
  const Auditstore__V1__EventError *error = m->error ? m->error : &no_error;
  ret_texts[EVENT_TEXT_EVENT_TYPE] = m->event_type;
  ret_texts[EVENT_TEXT_EVENT_CATEGORY] = m->event_category;
  ret_texts[EVENT_TEXT_EVENT_ACTION] = m->event_action;
  ret_texts[EVENT_TEXT_EVENT_VERSION] = m->event_version;
  ret_texts[EVENT_TEXT_ACTOR_TYPE] = actor->type;
  ret_texts[EVENT_TEXT_ACTOR_ID] = actor->id;
  ret_texts[EVENT_TEXT_RESOURCE_TYPE] = resource->type;
  ret_texts[EVENT_TEXT_RESOURCE_ID] = resource->id;
  ret_texts[EVENT_TEXT_RESOURCE_NAME] = resource->name;
  ret_texts[EVENT_TEXT_NAMESPACE] = resource->namespace_;
  ret_texts[EVENT_TEXT_CLUSTER] = resource->cluster;
  ret_texts[EVENT_TEXT_CORRELATION_ID] = m->correlation_id;
  ret_texts[EVENT_TEXT_TRACE_ID] = m->trace_id;
  ret_texts[EVENT_TEXT_SPAN_ID] = m->span_id;
  ret_texts[EVENT_TEXT_ERROR_CODE] = error->code;
  ret_texts[EVENT_TEXT_ERROR_MESSAGE] = error->message;
  ret_texts[EVENT_TEXT_EVENT_DATA] = m->event_data;
}

/* Hex digits of a fixed number, lower-cased in place, not all zero. */
static void check_hex(struct check *c, const char *path, ProtobufCBinaryData text, size_t len) {
  bool is_hex = text.len == len;
  bool is_zero = true;
  for (size_t i = 0; is_hex && i < len; i++) {
    uint8_t byte = text.data[i];
    if (byte >= 'A' && byte <= 'F')
      text.data[i] = byte = (uint8_t)(byte | 0x20);
    is_hex = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
    is_zero = is_zero && byte == '0';
  }
  if (!is_hex)
    violate(c, path, "must be %zu hex digits", len);
  else if (is_zero)
    violate(c, path, "must not be all zero");
}

static void check_event_data(struct check *c, struct str text) {
  size_t offset = 0;
  const char *what = json_check_object(text, EVENT_DATA_MAX_DEPTH, &offset);
  if (what)
    violate(c, "event_data", "%s, at byte %zu", what, offset);
}

static void check_content(struct check *c, enum event_text which, ProtobufCBinaryData text) {
  const char *path = event_text_fields[which].path;
  struct str str = str_of(text.data, text.len);
  switch (which) {
  case EVENT_TEXT_EVENT_DATA:
    check_event_data(c, str);
    return;
  case EVENT_TEXT_TRACE_ID:
  case EVENT_TEXT_SPAN_ID:
    check_hex(c, path, text, event_text_fields[which].max_bytes);
    return;
  default:
    if (!utf8_is_storable(str))
      violate(c, path, "must be valid UTF-8 without NUL");
  }
}

static void check_texts(struct check *c) {
  ProtobufCBinaryData texts[EVENT_TEXT_COUNT];
  collect_texts(c->message, texts);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    const struct event_text_field *field = &event_text_fields[i];
    if (texts[i].len > field->max_bytes)
      violate(c, field->path, "has %zu bytes; at most %zu are allowed", texts[i].len,
              field->max_bytes);
    else if (texts[i].len > 0)
      check_content(c, (enum event_text)i, texts[i]);
    else if (field->is_required)
      violate(c, field->path, "is required");
    c->event->text[i] = str_of(texts[i].data, texts[i].len);
  }
}

/* ---- times ---- */

static bool is_too_old(const struct config_ingest *config, int64_t time_us, int64_t now_us) {
  return config->max_event_age_us != CLOCK_NEVER && time_us < now_us - config->max_event_age_us;
}

static bool is_too_far_ahead(const struct config_ingest *config, int64_t time_us, int64_t now_us) {
  return config->max_event_ahead_us != CLOCK_NEVER && time_us - config->max_event_ahead_us > now_us;
}

/* A caller whose clock is right must not lose an event for good because ours is wrong. */
static bool is_in_window_by_postgres(const struct validator *v, int64_t time_us) {
  int64_t now_us = v->now_us - v->clocks.us;
  return clock_difference_is_certain(&v->clocks) && !is_too_old(v->config, time_us, now_us) &&
         !is_too_far_ahead(v->config, time_us, now_us);
}

static void check_window(struct check *c, int64_t time_us) {
  const struct config_ingest *config = c->validator->config;
  bool is_old = is_too_old(config, time_us, c->validator->now_us);
  bool is_ahead = is_too_far_ahead(config, time_us, c->validator->now_us);
  if ((is_old || is_ahead) && is_in_window_by_postgres(c->validator, time_us)) {
    c->validator->is_clock_in_doubt = true;
    c->is_valid = false;
    return;
  }
  if (is_old)
    violate(c, "event_time", "is older than the server accepts (ingest.max_event_age: %lld s)",
            (long long)(config->max_event_age_us / US_PER_S));
  if (is_ahead)
    violate(c, "event_time",
            "is further ahead than the server accepts (ingest.max_event_ahead: %lld s)",
            (long long)(config->max_event_ahead_us / US_PER_S));
}

static void check_time(struct check *c) {
  const Google__Protobuf__Timestamp *t = c->message->event_time;
  if (!t) {
    violate(c, "event_time", "is required");
    return;
  }
  if (t->nanos < 0 || t->nanos > NANOS_MAX) {
    violate(c, "event_time", "nanos must be 0 to %d", NANOS_MAX);
    return;
  }
  if (t->seconds < TIMESTAMP_MIN_US / US_PER_S || t->seconds > TIMESTAMP_MAX_US / US_PER_S) {
    violate(c, "event_time", "must be within the years 1 to 9999");
    return;
  }
  c->event->time_us = t->seconds * US_PER_S + t->nanos / 1000;
  check_window(c, c->event->time_us);
}

static void check_duration(struct check *c) {
  const Google__Protobuf__Duration *d = c->message->duration;
  c->event->duration_us = -1;
  if (!d)
    return;
  if (d->nanos < -NANOS_MAX || d->nanos > NANOS_MAX)
    violate(c, "duration", "nanos must be 0 to %d", NANOS_MAX);
  else if (d->seconds < 0 || d->nanos < 0)
    violate(c, "duration", "must not be negative");
  else if (d->seconds > EVENT_DURATION_MAX_US / US_PER_S ||
           d->seconds * US_PER_S + d->nanos / 1000 > EVENT_DURATION_MAX_US)
    violate(c, "duration", "must be at most ten years");
  else
    c->event->duration_us = d->seconds * US_PER_S + d->nanos / 1000;
}

/* ---- the rest ---- */

static void check_ids(struct check *c) {
  const ProtobufCBinaryData *id = &c->message->event_id;
  if (id->len && !uuid_parse(str_of(id->data, id->len), &c->event->id))
    violate(c, "event_id", "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057");
  const ProtobufCBinaryData *parent = &c->message->parent_event_id;
  c->event->has_parent = parent->len > 0;
  if (parent->len && !uuid_parse(str_of(parent->data, parent->len), &c->event->parent_id))
    violate(c, "parent_event_id", "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057");
}

/* inet_pton alone decides: no prefix lengths, zones, ports or short forms. */
static void check_actor_ip(struct check *c) {
  c->event->actor_ip = (struct pg_inet){.length = 0};
  if (!c->message->actor || !c->message->actor->ip.len)
    return;
  ProtobufCBinaryData text = c->message->actor->ip;
  char ip[INET6_ADDRSTRLEN];
  struct pg_inet *inet = &c->event->actor_ip;
  if (text.len < sizeof(ip) && !memchr(text.data, 0, text.len)) {
    memcpy(ip, text.data, text.len);
    ip[text.len] = '\0';
    if (inet_pton(AF_INET, ip, inet->bytes) == 1)
      inet->length = 4;
    else if (inet_pton(AF_INET6, ip, inet->bytes) == 1)
      inet->length = 16;
  }
  if (!inet->length)
    violate(c, "actor.ip", "must be an IPv4 or IPv6 address without a prefix length");
}

static void check_scalars(struct check *c) {
  const Auditstore__V1__AuditEvent *m = c->message;
  if ((int)m->outcome == AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
    violate(c, "outcome", "is required");
  else if ((int)m->outcome < 0 || (int)m->outcome > AUDITSTORE__V1__OUTCOME__OUTCOME_UNKNOWN)
    violate(c, "outcome", "%d is not a known outcome", (int)m->outcome);
  if ((int)m->severity < 0 || (int)m->severity > AUDITSTORE__V1__SEVERITY__SEVERITY_EMERGENCY)
    violate(c, "severity", "%d is not a known severity", (int)m->severity);
  if (m->retention_days < 0 || m->retention_days > EVENT_RETENTION_MAX_DAYS)
    violate(c, "retention_days", "must be 1 to %d, or 0 for the default", EVENT_RETENTION_MAX_DAYS);
  if (!c->is_valid)
    return;
  c->event->outcome = (uint8_t)m->outcome;
  c->event->severity = (uint8_t)m->severity;
  c->event->retention_days = m->retention_days;
  c->event->is_sensitive = m->sensitive;
}

bool validate_event(struct validator *v, Auditstore__V1__AuditEvent *message, int index,
                    struct event *ret_event, struct grpc_status **status) {
  struct check c = {
      .validator = v,
      .message = message,
      .index = index,
      .event = ret_event,
      .status = status,
      .is_valid = true,
  };
  memset(&ret_event->parent_id, 0, sizeof(ret_event->parent_id));
  check_ids(&c);
  check_time(&c);
  check_texts(&c);
  check_duration(&c);
  check_actor_ip(&c);
  check_scalars(&c);
  if (c.is_valid && !message->event_id.len) {
    ret_event->id = uuid_v7_next(&v->ids, v->now_us);
    v->made_ids++;
  }
  return c.is_valid;
}
