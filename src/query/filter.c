#include "query/filter.h"

#include "base/timestamp.h"
#include "ledger/event.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define FIELD_SIZE     64
#define US_PER_S       1000000
#define NANOS_MAX      999999999
#define SHA_BYTES      32
#define OUTCOME_COUNT  4
#define SEVERITY_COUNT 8

/* ---- the fields, as tables ---- */

struct text_list {
  const char *path;
  const char *column;
  size_t max_bytes;
  size_t count_offset;
  size_t values_offset;
};
#define LIST(field, column_, max_bytes_)                                                           \
  {                                                                                                \
    .path = "filter." #field, .column = (column_), .max_bytes = (max_bytes_),                      \
    .count_offset = offsetof(Auditstore__V1__EventFilter, n_##field),                              \
    .values_offset = offsetof(Auditstore__V1__EventFilter, field)                                  \
  }
/* The columns and limits of the table in ledger/event.h. */
enum {
#define MAX_BYTES(name, path, column, max_bytes, required) MAX_##name = (max_bytes),
  EVENT_TEXT_FIELDS(MAX_BYTES)
#undef MAX_BYTES
};
static const struct text_list text_lists[] = {
    LIST(correlation_ids, "correlation_id", MAX_CORRELATION_ID),
    LIST(actor_types, "actor_type", MAX_ACTOR_TYPE),
    LIST(actor_ids, "actor_id", MAX_ACTOR_ID),
    LIST(resource_types, "resource_type", MAX_RESOURCE_TYPE),
    LIST(resource_ids, "resource_id", MAX_RESOURCE_ID),
    LIST(event_types, "event_type", MAX_EVENT_TYPE),
    LIST(event_categories, "event_category", MAX_EVENT_CATEGORY),
    LIST(event_actions, "event_action", MAX_EVENT_ACTION),
    LIST(namespaces, "namespace", MAX_NAMESPACE),
    LIST(clusters, "cluster", MAX_CLUSTER),
    LIST(principals, "principal", EVENT_PRINCIPAL_MAX_BYTES),
};
#define TEXT_LIST_COUNT (sizeof(text_lists) / sizeof(text_lists[0]))

static size_t text_count(const Auditstore__V1__EventFilter *filter, const struct text_list *list) {
  return *(const size_t *)(const void *)((const char *)filter + list->count_offset);
}

static const ProtobufCBinaryData *text_values(const Auditstore__V1__EventFilter *filter,
                                              const struct text_list *list) {
  return *(ProtobufCBinaryData *const *)(const void *)((const char *)filter + list->values_offset);
}

/* The two lists of enums, whose C types are distinct but all int. */
struct enum_list {
  const char *path;
  const char *column;
  int max;
  size_t count;
  const int *values;
};
_Static_assert(sizeof(Auditstore__V1__Outcome) == sizeof(int), "protobuf-c enums are ints");

#define ENUM_LIST_COUNT 2
static void enum_lists(const Auditstore__V1__EventFilter *filter,
                       struct enum_list ret_lists[ENUM_LIST_COUNT]) {
  ret_lists[0] = (struct enum_list){"filter.outcomes", "outcome", OUTCOME_COUNT, filter->n_outcomes,
                                    (const int *)filter->outcomes};
  ret_lists[1] = (struct enum_list){"filter.severities", "severity", SEVERITY_COUNT,
                                    filter->n_severities, (const int *)filter->severities};
}

/* ---- checking ---- */

static bool check_count(const char *path, size_t count, struct grpc_status **status) {
  if (count <= FILTER_MAX_VALUES)
    return true;
  grpc_status_violate(status, path,
                      "has %zu values; at most %d are allowed: ask for the others apart", count,
                      FILTER_MAX_VALUES);
  return false;
}

static void check_text(const struct text_list *list, size_t index, struct str value,
                       struct grpc_status **status) {
  char field[FIELD_SIZE];
  (void)snprintf(field, sizeof(field), "%s[%zu]", list->path, index);
  size_t max_bytes = list->max_bytes;
  if (value.len == 0)
    grpc_status_violate(status, field, "must not be empty: leave it out to ask for any");
  else if (value.len > max_bytes)
    grpc_status_violate(status, field, "has %zu bytes; no event has more than %zu there", value.len,
                        max_bytes);
  else if (!utf8_is_storable(value))
    grpc_status_violate(status, field, "must be UTF-8 without U+0000, as those of events are");
}

static void check_texts(const Auditstore__V1__EventFilter *filter, struct grpc_status **status) {
  for (size_t i = 0; i < TEXT_LIST_COUNT; i++) {
    const struct text_list *list = &text_lists[i];
    size_t count = text_count(filter, list);
    if (!check_count(list->path, count, status))
      continue;
    const ProtobufCBinaryData *values = text_values(filter, list);
    for (size_t k = 0; k < count; k++)
      check_text(list, k, str_of(values[k].data, values[k].len), status);
  }
}

static void check_enums(const Auditstore__V1__EventFilter *filter, struct grpc_status **status) {
  struct enum_list lists[ENUM_LIST_COUNT];
  enum_lists(filter, lists);
  for (int i = 0; i < ENUM_LIST_COUNT; i++) {
    if (!check_count(lists[i].path, lists[i].count, status))
      continue;
    for (size_t k = 0; k < lists[i].count; k++) {
      char field[FIELD_SIZE];
      (void)snprintf(field, sizeof(field), "%s[%zu]", lists[i].path, k);
      if (lists[i].values[k] < 1 || lists[i].values[k] > lists[i].max)
        grpc_status_violate(status, field, "must be 1 to %d; %d is not", lists[i].max,
                            lists[i].values[k]);
    }
  }
}

/* Events have whole microseconds, so both bounds are rounded up: an event is at or after 5.5 when
 * it is at or after 6, and before 5.5 when it is before 6. */
static int64_t time_us(const Google__Protobuf__Timestamp *t) {
  return t->seconds * US_PER_S + (t->nanos + 999) / 1000;
}

static bool check_time(const char *path, const Google__Protobuf__Timestamp *t,
                       struct grpc_status **status) {
  if (!t)
    return false;
  if (t->nanos < 0 || t->nanos > NANOS_MAX) {
    grpc_status_violate(status, path, "nanos must be 0 to %d; %d is not", NANOS_MAX, (int)t->nanos);
    return false;
  }
  if (t->seconds < TIMESTAMP_MIN_US / US_PER_S || t->seconds > TIMESTAMP_MAX_US / US_PER_S) {
    grpc_status_violate(status, path,
                        "must be within the years 1 to 9999; %lld s since 1970 is not",
                        (long long)t->seconds);
    return false;
  }
  return true;
}

void filter_check(const Auditstore__V1__EventFilter *filter, struct grpc_status **status) {
  if (!filter)
    return;
  bool has_start = check_time("filter.start_time", filter->start_time, status);
  bool has_end = check_time("filter.end_time", filter->end_time, status);
  if (has_start && has_end && time_us(filter->start_time) >= time_us(filter->end_time))
    grpc_status_violate(status, "filter.end_time", "must be after filter.start_time");
  check_texts(filter, status);
  check_enums(filter, status);
}

/* ---- SQL ---- */

static void add_texts(const Auditstore__V1__EventFilter *filter, struct sql *sql) {
  for (size_t i = 0; i < TEXT_LIST_COUNT; i++) {
    const struct text_list *list = &text_lists[i];
    size_t count = text_count(filter, list);
    if (count == 0)
      continue;
    const ProtobufCBinaryData *values = text_values(filter, list);
    sql_add(sql, " AND e.");
    sql_add(sql, list->column);
    sql_add(sql, " = ");
    /* With one value an index gives the rows in the order of time; with an array it can't. */
    if (count == 1) {
      sql_add_text(sql, str_of(values[0].data, values[0].len));
      continue;
    }
    sql_add(sql, "ANY (");
    sql_add_text_array(sql, values, count);
    sql_add(sql, ")");
  }
}

static void add_enums(const Auditstore__V1__EventFilter *filter, struct sql *sql) {
  struct enum_list lists[ENUM_LIST_COUNT];
  enum_lists(filter, lists);
  for (int i = 0; i < ENUM_LIST_COUNT; i++) {
    if (lists[i].count == 0)
      continue;
    sql_add(sql, " AND e.");
    sql_add(sql, lists[i].column);
    sql_add(sql, " = ANY (");
    sql_add_int2_array(sql, lists[i].values, lists[i].count);
    sql_add(sql, ")");
  }
}

void filter_add_sql(const Auditstore__V1__EventFilter *filter, struct sql *sql) {
  if (!filter)
    return;
  if (filter->start_time) {
    sql_add(sql, " AND e.event_time >= ");
    sql_add_timestamptz(sql, time_us(filter->start_time));
  }
  if (filter->end_time) {
    sql_add(sql, " AND e.event_time < ");
    sql_add_timestamptz(sql, time_us(filter->end_time));
  }
  add_texts(filter, sql);
  add_enums(filter, sql);
}

/* ---- what an index serves ---- */

/* How many lists of values are filled. */
static int condition_count(const Auditstore__V1__EventFilter *filter) {
  struct enum_list lists[ENUM_LIST_COUNT];
  int count = 0;
  enum_lists(filter, lists);
  for (size_t i = 0; i < TEXT_LIST_COUNT; i++)
    count += text_count(filter, &text_lists[i]) > 0;
  for (int i = 0; i < ENUM_LIST_COUNT; i++)
    count += lists[i].count > 0;
  return count;
}

bool filter_is_indexed(const Auditstore__V1__EventFilter *filter) {
  if (!filter || filter->n_correlation_ids > 0)
    return true;
  int conditions = condition_count(filter);
  bool is_of_actor = filter->n_actor_ids > 0;
  bool is_of_resource = filter->n_resource_types > 0 && filter->n_resource_ids > 0;
  return conditions == 0 || (conditions == 1 && is_of_actor) || (conditions == 2 && is_of_resource);
}

/* ---- fingerprint ---- */

struct digest_buffer {
  ProtobufCBuffer base;
  EVP_MD_CTX *context;
};

static void append_to_digest(ProtobufCBuffer *buffer, size_t len, const uint8_t *data) {
  struct digest_buffer *digest = (struct digest_buffer *)buffer;
  int ok = EVP_DigestUpdate(digest->context, data, len);
  assert(ok);
  (void)ok;
}

void filter_fingerprint(const Auditstore__V1__EventFilter *filter,
                        uint8_t ret_fingerprint[FILTER_FINGERPRINT_BYTES]) {
  struct digest_buffer digest = {.base.append = append_to_digest, .context = EVP_MD_CTX_new()};
  uint8_t sum[SHA_BYTES];
  int ok = digest.context && EVP_DigestInit_ex(digest.context, EVP_sha256(), NULL);
  /* An empty filter packs to nothing, as an absent one: both ask for everything. */
  if (ok && filter)
    protobuf_c_message_pack_to_buffer(&filter->base, &digest.base);
  ok = ok && EVP_DigestFinal_ex(digest.context, sum, NULL);
  assert(ok);
  EVP_MD_CTX_free(digest.context);
  memcpy(ret_fingerprint, sum, FILTER_FINGERPRINT_BYTES);
}
