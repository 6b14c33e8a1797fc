#include "ingest/validate.h"

#include <assert.h>
#include <stdio.h>

#include "base/quote.h"
#include "base/timestamp.h"
#include "ingest/address.h"
#include "ingest/json.h"

#define US_PER_S   1000000LL
#define US_PER_MIN (60 * US_PER_S)
#define US_PER_H   (60 * US_PER_MIN)
#define NANOS_MAX  999999999
#define PATH_SIZE  64
#define TEXT_SIZE  512

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
  char field[PATH_SIZE];
  char text[TEXT_SIZE];
  va_list args;
  c->is_valid = false;
  snprintf(field, sizeof(field), "events[%d].%s", c->index, path);
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  grpc_status_violate(c->status, field, "%s", text);
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

static void tell_not_utf8(struct check *c, const char *path, struct str text, size_t offset) {
  char shown[QUOTE_SIZE];
  violate(c, path, "must be UTF-8, which %s at byte %zu is not",
          quote(str_of(text.data + offset, 1), shown), offset);
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
  char shown[QUOTE_SIZE];
  if (!is_hex)
    violate(c, path, "must be %zu hex digits; %s is not", len,
            quote(str_of(text.data, text.len), shown));
  else if (is_zero)
    violate(c, path, "must not be all zero: leave it out where there is none");
}

static void tell_no_object(struct check *c, struct str text, size_t offset) {
  static const char mark[] = "\xEF\xBB\xBF";
  char shown[QUOTE_SIZE];
  struct str rest = str_of(text.data + offset, text.len - offset);
  if (rest.len == 0)
    violate(c, "event_data", "holds nothing but white space: leave it out, or write {}");
  else if (rest.len >= strlen(mark) && memcmp(rest.data, mark, strlen(mark)) == 0)
    violate(c, "event_data", "begins with a byte order mark: leave it out");
  else
    violate(c, "event_data",
            "must be a JSON object such as {\"key\":\"value\"}; this begins with %s",
            quote(str_of(rest.data, rest.len < 16 ? rest.len : 16), shown));
}

/* JSON has these two, and PostgreSQL's texts don't. */
static void tell_unstorable(struct check *c, struct str text, const struct json_problem *problem) {
  const char *escape = text.data + problem->offset;
  if (problem->fault == JSON_NUL)
    violate(c, "event_data",
            "holds %.6s at byte %zu: the character U+0000 can't be stored, leave it out", escape,
            problem->offset);
  else
    violate(c, "event_data",
            "holds %.6s at byte %zu, half of a character that can't be stored without its other "
            "half: write \\ufffd in its place",
            escape, problem->offset);
}

static void check_event_data(struct check *c, struct str text) {
  struct json_problem problem;
  if (json_check_object(text, EVENT_DATA_MAX_DEPTH, &problem))
    return;
  switch (problem.fault) {
  case JSON_MALFORMED:
    violate(c, "event_data", "is not valid JSON: %s, at byte %zu", problem.what, problem.offset);
    break;
  case JSON_NOT_AN_OBJECT:
    tell_no_object(c, text, problem.offset);
    break;
  case JSON_TOO_DEEP:
    violate(c, "event_data",
            "is nested %d levels deep; at most %d are allowed: keep what lies deeper as a text",
            problem.depth, EVENT_DATA_MAX_DEPTH);
    break;
  case JSON_NUL:
  case JSON_SURROGATE:
    tell_unstorable(c, text, &problem);
    break;
  case JSON_NOT_UTF8:
    tell_not_utf8(c, "event_data", text, problem.offset);
    break;
  }
}

static void check_storable(struct check *c, const char *path, struct str text) {
  if (utf8_is_storable(text))
    return;
  const char *nul = memchr(text.data, 0, text.len);
  size_t valid = utf8_valid_prefix(text);
  if (nul && (size_t)(nul - text.data) < valid)
    violate(c, path, "holds the character U+0000 at byte %zu, which can't be stored: leave it out",
            (size_t)(nul - text.data));
  else
    tell_not_utf8(c, path, text, valid);
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
    check_storable(c, path, str);
  }
}

static void tell_too_long(struct check *c, enum event_text which, size_t len) {
  const struct event_text_field *field = &event_text_fields[which];
  int64_t max_data = c->validator->config->max_event_data_bytes;
  if (which != EVENT_TEXT_EVENT_DATA)
    violate(c, field->path,
            "has %zu bytes; at most %zu are allowed: cut it, or keep the whole in event_data", len,
            field->max_bytes);
  else if (max_data < (int64_t)field->max_bytes)
    violate(c, field->path,
            "has %zu bytes; at most %lld are allowed (ingest.max_event_data_bytes, which the "
            "server's operator may raise to %zu)",
            len, (long long)max_data, field->max_bytes);
  else
    violate(c, field->path,
            "has %zu bytes; at most %zu are allowed: keep the rest elsewhere, and its hash here",
            len, field->max_bytes);
}

static size_t max_bytes_of(const struct check *c, enum event_text which) {
  return which == EVENT_TEXT_EVENT_DATA ? (size_t)c->validator->config->max_event_data_bytes
                                        : event_text_fields[which].max_bytes;
}

/* What has a fixed length is told by its own rule. */
static bool is_too_long(const struct check *c, enum event_text which, size_t len) {
  return which != EVENT_TEXT_TRACE_ID && which != EVENT_TEXT_SPAN_ID &&
         len > max_bytes_of(c, which);
}

static void check_texts(struct check *c) {
  ProtobufCBinaryData texts[EVENT_TEXT_COUNT];
  collect_texts(c->message, texts);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    const struct event_text_field *field = &event_text_fields[i];
    if (is_too_long(c, (enum event_text)i, texts[i].len))
      tell_too_long(c, (enum event_text)i, texts[i].len);
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

/* Rounded up to whole hours, minutes or seconds: above the limit that it passes. */
static void format_distance(int64_t us, char ret_text[CONFIG_DURATION_SIZE]) {
  int64_t unit = us > 2 * US_PER_H ? US_PER_H : us > 2 * US_PER_MIN ? US_PER_MIN : US_PER_S;
  config_format_duration((us + unit - 1) / unit * unit, ret_text);
}

static void tell_too_old(struct check *c, int64_t age_us) {
  char age[CONFIG_DURATION_SIZE];
  char allowed[CONFIG_DURATION_SIZE];
  format_distance(age_us, age);
  config_format_duration(c->validator->config->max_event_age_us, allowed);
  violate(c, "event_time",
          "lies %s back, and the most is %s (ingest.max_event_age, which the server's operator "
          "may raise, or turn off while old records are taken over)",
          age, allowed);
}

static void tell_too_far_ahead(struct check *c, int64_t ahead_us) {
  char ahead[CONFIG_DURATION_SIZE];
  char allowed[CONFIG_DURATION_SIZE];
  format_distance(ahead_us, ahead);
  config_format_duration(c->validator->config->max_event_ahead_us, allowed);
  violate(c, "event_time",
          "lies %s ahead of the server's clock, and the most is %s (ingest.max_event_ahead): "
          "set the clock right that it was read from, and look at its zone",
          ahead, allowed);
}

static void check_window(struct check *c, int64_t time_us) {
  const struct config_ingest *config = c->validator->config;
  int64_t now_us = c->validator->now_us;
  bool is_old = is_too_old(config, time_us, now_us);
  bool is_ahead = is_too_far_ahead(config, time_us, now_us);
  if ((is_old || is_ahead) && is_in_window_by_postgres(c->validator, time_us)) {
    c->validator->is_clock_in_doubt = true;
    c->is_valid = false;
    return;
  }
  if (is_old)
    tell_too_old(c, now_us - time_us);
  if (is_ahead)
    tell_too_far_ahead(c, time_us - now_us);
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
    violate(c, "duration", "nanos must be 0 to %d; %d is not", NANOS_MAX, (int)d->nanos);
  else if (d->seconds < 0 || d->nanos < 0)
    violate(c, "duration", "must not be negative; %lld s and %d ns is", (long long)d->seconds,
            (int)d->nanos);
  else if (d->seconds > EVENT_DURATION_MAX_US / US_PER_S ||
           d->seconds * US_PER_S + d->nanos / 1000 > EVENT_DURATION_MAX_US)
    violate(c, "duration", "must be at most ten years, %lld s; it is %lld s",
            EVENT_DURATION_MAX_US / US_PER_S, (long long)d->seconds);
  else
    c->event->duration_us = d->seconds * US_PER_S + d->nanos / 1000;
}

/* ---- the rest ---- */

static void tell_no_uuid(struct check *c, const char *path, ProtobufCBinaryData id) {
  char shown[QUOTE_SIZE];
  violate(c, path, "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057; %s is not",
          quote(str_of(id.data, id.len), shown));
}

static void check_ids(struct check *c) {
  const ProtobufCBinaryData *id = &c->message->event_id;
  if (id->len && !uuid_parse(str_of(id->data, id->len), &c->event->id))
    tell_no_uuid(c, "event_id", *id);
  const ProtobufCBinaryData *parent = &c->message->parent_event_id;
  c->event->has_parent = parent->len > 0;
  if (parent->len && !uuid_parse(str_of(parent->data, parent->len), &c->event->parent_id))
    tell_no_uuid(c, "parent_event_id", *parent);
}

static void check_actor_ip(struct check *c) {
  c->event->actor_ip = (struct pg_inet){.length = 0};
  if (!c->message->actor || !c->message->actor->ip.len)
    return;
  char problem[ADDRESS_PROBLEM_SIZE];
  struct str text = str_of(c->message->actor->ip.data, c->message->actor->ip.len);
  if (address_parse(text, &c->event->actor_ip))
    return;
  address_problem(text, problem);
  violate(c, "actor.ip", "%s", problem);
}

static void check_scalars(struct check *c) {
  const Auditstore__V1__AuditEvent *m = c->message;
  if ((int)m->outcome == AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
    violate(c, "outcome", "is required: 1 (SUCCESS), 2 (FAILURE), 3 (PENDING) or 4 (UNKNOWN)");
  else if ((int)m->outcome < 0 || (int)m->outcome > AUDITSTORE__V1__OUTCOME__OUTCOME_UNKNOWN)
    violate(c, "outcome", "must be 1 (SUCCESS) to 4 (UNKNOWN); %d is not", (int)m->outcome);
  if ((int)m->severity < 0 || (int)m->severity > AUDITSTORE__V1__SEVERITY__SEVERITY_EMERGENCY)
    violate(c, "severity", "must be 1 (DEBUG) to 8 (EMERGENCY), or 0 for none; %d is not",
            (int)m->severity);
  if (m->retention_days < 0 || m->retention_days > EVENT_RETENTION_MAX_DAYS)
    violate(c, "retention_days", "must be 1 to %d, or 0 for none; %d is not",
            EVENT_RETENTION_MAX_DAYS, (int)m->retention_days);
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
