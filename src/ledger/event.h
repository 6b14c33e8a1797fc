/*
 * event: an audit event in its one normalised form, from which it is stored and compared.
 *
 * Normalised means: times cut to microseconds, UUIDs as bytes, addresses as bytes, trace ids in
 * lower case, empty text = absent. Texts are borrowed from the request's arena.
 *
 * EVENT_TEXT_FIELDS is the one table of the text fields (name in the API, column, limit, required):
 * the validation, the SQL and the documentation are made from it. Of event_data it has what the
 * contract allows at most; ingest.max_event_data_bytes is what holds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "auditstore/v1/event.pb-c.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "pg/binary.h"

/* clang-format off */
/*    enum name        path in the API          column           max bytes  required */
#define EVENT_TEXT_FIELDS(X)                                                         \
  X(EVENT_TYPE,        "event_type",            "event_type",          255, true)    \
  X(EVENT_CATEGORY,    "event_category",        "event_category",       50, true)    \
  X(EVENT_ACTION,      "event_action",          "event_action",        255, true)    \
  X(EVENT_VERSION,     "event_version",         "event_version",        20, false)   \
  X(ACTOR_TYPE,        "actor.type",            "actor_type",           50, false)   \
  X(ACTOR_ID,          "actor.id",              "actor_id",            255, false)   \
  X(RESOURCE_TYPE,     "resource.type",         "resource_type",       100, false)   \
  X(RESOURCE_ID,       "resource.id",           "resource_id",         255, false)   \
  X(RESOURCE_NAME,     "resource.name",         "resource_name",       255, false)   \
  X(NAMESPACE,         "resource.namespace",    "namespace",           253, false)   \
  X(CLUSTER,           "resource.cluster",      "cluster",             255, false)   \
  X(CORRELATION_ID,    "correlation_id",        "correlation_id",      255, false)   \
  X(TRACE_ID,          "trace_id",              "trace_id",             32, false)   \
  X(SPAN_ID,           "span_id",               "span_id",              16, false)   \
  X(ERROR_CODE,        "error.code",            "error_code",           50, false)   \
  X(ERROR_MESSAGE,     "error.message",         "error_message",      4096, false)   \
  X(EVENT_DATA,        "event_data",            "event_data",      1048576, false)
/* clang-format on */

/* All of them at their largest. */
enum {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a term of the sum below */
#define EVENT_TEXT_ADD(name, path, column, max_bytes, required) +(max_bytes)
  EVENT_TEXTS_MAX_BYTES = 0 EVENT_TEXT_FIELDS(EVENT_TEXT_ADD)
#undef EVENT_TEXT_ADD
};

enum event_text {
#define EVENT_TEXT_ENUM(name, path, column, max_bytes, required) EVENT_TEXT_##name,
  EVENT_TEXT_FIELDS(EVENT_TEXT_ENUM)
#undef EVENT_TEXT_ENUM
      EVENT_TEXT_COUNT
};

struct event_text_field {
  const char *path;
  const char *column;
  size_t max_bytes;
  bool is_required;
};
extern const struct event_text_field event_text_fields[EVENT_TEXT_COUNT];

#define EVENT_DATA_MAX_DEPTH     64
#define EVENT_DURATION_MAX_US    (3653LL * 86400 * 1000000) /* ten years */
#define EVENT_RETENTION_MAX_DAYS 36500

struct event {
  struct uuid id;
  struct uuid parent_id;
  int64_t time_us;                   /* event_time, since 1970 */
  int64_t duration_us;               /* -1: absent */
  struct str text[EVENT_TEXT_COUNT]; /* len 0: absent */
  struct pg_inet actor_ip;           /* length 0: absent */
  int32_t retention_days;            /* 0: absent */
  uint8_t outcome;                   /* Auditstore__V1__Outcome, 1..4 */
  uint8_t severity;                  /* Auditstore__V1__Severity, 0: absent */
  bool has_parent;
  bool is_sensitive;
};

/* By what no two stored events share. */
static inline int event_compare_keys(const struct event *a, const struct event *b) {
  int by_id = memcmp(a->id.bytes, b->id.bytes, sizeof(a->id.bytes));
  return by_id ? by_id : (a->time_us > b->time_us) - (a->time_us < b->time_us);
}

/* Who wrote it: far above the names in use; SPIFFE's are the longest. */
#define EVENT_PRINCIPAL_MAX_BYTES 2048

/* What the store adds to an event. */
struct event_place {
  int64_t received_us; /* the daemon's clock on arrival, since 1970 */
  int64_t ledger_id;
  int64_t sequence;
  struct str principal; /* of its writer; borrowed; len 0: absent */
};

/* As read back. */
struct stored_event {
  struct event event;
  struct event_place place;
};

/* Builds the API's message in `arena`; texts are borrowed from `stored`. NULL when the arena is
 * full. */
Auditstore__V1__StoredEvent *stored_event_to_proto(const struct stored_event *stored,
                                                   struct arena *arena);

/* Replaces the content of `ret_bytes` by what that message is packed to: what a ledger's leaf is
 * made from. Without the message, as it is done for each event that is written. False when they
 * don't fit. */
bool event_pack(const struct event *event, const struct event_place *place, struct buf *ret_bytes);
