#include "grpc/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "google/rpc/error_details.pb-c.h"

/* All together must fit into a status whose trailers are at most 8 KiB, which is why a long
 * text is of no use. */
#define MAX_MESSAGE_BYTES     2048
#define MAX_FIELD_BYTES       256
#define MAX_DESCRIPTION_BYTES 512
#define MAX_RESOURCE_BYTES    1024
#define MAX_DETAILS           4
/* Room for " (and 2147483647 more)". */
#define SUFFIX_BYTES 32
#define TEXTS_LIMIT  ((size_t)64 * 1024)
#define PACKED_LIMIT ((size_t)256 * 1024)

#define DEFAULT_RETRY_DELAY_US 1000000

/* What google.rpc.Status points to. */
struct parts {
  Google__Rpc__Status proto;
  Google__Protobuf__Any any[MAX_DETAILS];
  Google__Protobuf__Any *pointers[MAX_DETAILS];
};

/* Kept small: a request may have a thousand of them. */
struct grpc_status {
  enum grpc_code code;
  int violation_count;
  char *message;      /* in texts, with room for the suffix behind it */
  size_t message_len; /* without the suffix */

  struct arena texts;
  Google__Rpc__BadRequest__FieldViolation **violations; /* in texts */
  bool is_told_by_violations;          /* the message is the first of them, and how many follow */
  Google__Rpc__ResourceInfo *resource; /* in texts; NULL for none */
  int64_t retry_delay_us;              /* -1 for none */
  const char *reason;                  /* static; NULL for none */
  const char *reason_domain;

  struct arena packed; /* parts, and what they point to */
};

static ProtobufCBinaryData binary_of(struct str text) {
  return (ProtobufCBinaryData){text.len, (uint8_t *)text.data};
}

/* Cuts at a character's end; invalid bytes end it as well, since a protobuf string can't hold them.
 */
static struct str clip(struct str text, size_t max) {
  struct str cut = str_of(text.data, text.len < max ? text.len : max);
  return str_of(cut.data, utf8_valid_prefix(cut));
}

/* ---- making ---- */

static struct grpc_status *new_empty(enum grpc_code code) {
  static char empty[1];
  struct grpc_status *status = xcalloc(1, sizeof(*status));
  status->code = code;
  status->message = empty;
  status->retry_delay_us = -1;
  arena_init(&status->texts, TEXTS_LIMIT);
  arena_init(&status->packed, PACKED_LIMIT);
  return status;
}

__attribute__((format(printf, 2, 0))) static void set_message(struct grpc_status *status,
                                                              const char *format, va_list args) {
  char text[MAX_MESSAGE_BYTES];
  (void)vsnprintf(text, sizeof(text), format, args);
  struct str clipped = clip(str_z(text), MAX_MESSAGE_BYTES);
  char *message = arena_alloc(&status->texts, clipped.len + SUFFIX_BYTES);
  if (!message)
    return;
  memcpy(message, clipped.data, clipped.len);
  message[clipped.len] = '\0';
  status->message = message;
  status->message_len = clipped.len;
}

__attribute__((format(printf, 2, 3))) static void put_message(struct grpc_status *status,
                                                              const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_message(status, format, args);
  va_end(args);
}

struct grpc_status *grpc_status_new(enum grpc_code code, const char *format, ...) {
  struct grpc_status *status = new_empty(code);
  va_list args;
  va_start(args, format);
  set_message(status, format, args);
  va_end(args);
  return status;
}

struct grpc_status *grpc_status_of_code(enum error_code code, const char *format, ...) {
  struct grpc_status *status = new_empty((enum grpc_code)error_grpc_code(code));
  va_list args;
  va_start(args, format);
  set_message(status, format, args);
  va_end(args);
  if (error_is_retryable(code))
    grpc_status_set_retry_delay(status, DEFAULT_RETRY_DELAY_US);
  return status;
}

struct grpc_status *grpc_status_short_of_memory(void) {
  return grpc_status_of_code(ERR_EXHAUSTED,
                             "the server's memory for its callers is used up "
                             "(server.max_inbound_bytes): nothing was done, try again later");
}

void grpc_status_free(struct grpc_status *status) {
  if (!status)
    return;
  arena_deinit(&status->texts);
  arena_deinit(&status->packed);
  free(status);
}

enum grpc_code grpc_status_code(const struct grpc_status *status) {
  return status->code;
}

const char *grpc_status_message(const struct grpc_status *status) {
  return status->message;
}

/* ---- details ---- */

static ProtobufCBinaryData keep(struct grpc_status *status, const char *text, size_t max) {
  struct str clipped = clip(str_z(text), max);
  char *copy = arena_strdup(&status->texts, clipped);
  return binary_of(copy ? str_of(copy, clipped.len) : str_z(""));
}

/* False: memory is out. */
static bool keep_violation(struct grpc_status *status, const char *field, const char *description) {
  size_t index = (size_t)status->violation_count;
  if (!status->violations)
    status->violations = arena_calloc(&status->texts, GRPC_STATUS_MAX_VIOLATIONS, sizeof(void *));
  Google__Rpc__BadRequest__FieldViolation *violation =
      status->violations ? arena_alloc(&status->texts, sizeof(*violation)) : NULL;
  if (!violation)
    return false;
  google__rpc__bad_request__field_violation__init(violation);
  violation->field = keep(status, field, MAX_FIELD_BYTES);
  violation->description = keep(status, description, MAX_DESCRIPTION_BYTES);
  status->violations[index] = violation;
  return true;
}

/* The details may be dropped on the way, or never looked at. */
static void tell_first_violation(struct grpc_status *status) {
  const Google__Rpc__BadRequest__FieldViolation *first = status->violations[0];
  put_message(status, "%.*s: %.*s", (int)first->field.len, (const char *)first->field.data,
              (int)first->description.len, (const char *)first->description.data);
}

static void tell_violations(struct grpc_status *status) {
  if (status->violation_count == 1)
    tell_first_violation(status);
  else if (status->message_len > 0)
    (void)snprintf(status->message + status->message_len, SUFFIX_BYTES, " (and %d more)",
                   status->violation_count - 1);
}

void grpc_status_violate(struct grpc_status **status, const char *field, const char *format, ...) {
  if (!*status) {
    *status = new_empty(GRPC_INVALID_ARGUMENT);
    (*status)->is_told_by_violations = true;
  }
  bool is_kept = true;
  if ((*status)->violation_count < GRPC_STATUS_MAX_VIOLATIONS) {
    char description[MAX_DESCRIPTION_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(description, sizeof(description), format, args);
    va_end(args);
    is_kept = keep_violation(*status, field, description);
  }
  if (is_kept)
    (*status)->violation_count++;
  if (is_kept && (*status)->is_told_by_violations)
    tell_violations(*status);
}

int grpc_status_violation_count(const struct grpc_status *status) {
  return status->violation_count;
}

void grpc_status_set_retry_delay(struct grpc_status *status, int64_t delay_us) {
  status->retry_delay_us = delay_us > 0 ? delay_us : 0;
}

void grpc_status_set_reason(struct grpc_status *status, const char *reason, const char *domain) {
  status->reason = reason;
  status->reason_domain = domain;
}

void grpc_status_set_resource(struct grpc_status *status, const char *type, struct str name,
                              const char *description) {
  char name_text[MAX_RESOURCE_BYTES + 1];
  struct str clipped = clip(name, MAX_RESOURCE_BYTES);
  if (!status->resource)
    status->resource = arena_alloc(&status->texts, sizeof(*status->resource));
  if (!status->resource)
    return;
  memcpy(name_text, clipped.data ? clipped.data : "", clipped.len);
  name_text[clipped.len] = '\0';
  google__rpc__resource_info__init(status->resource);
  status->resource->resource_type = keep(status, type, MAX_FIELD_BYTES);
  status->resource->resource_name = keep(status, name_text, MAX_RESOURCE_BYTES);
  status->resource->description = keep(status, description, MAX_DESCRIPTION_BYTES);
}

static void copy_resource(struct grpc_status *copy, const Google__Rpc__ResourceInfo *resource) {
  char type[MAX_FIELD_BYTES + 1];
  char description[MAX_DESCRIPTION_BYTES + 1];
  const ProtobufCBinaryData *name = &resource->resource_name;
  snprintf(type, sizeof(type), "%.*s", (int)resource->resource_type.len,
           (const char *)resource->resource_type.data);
  snprintf(description, sizeof(description), "%.*s", (int)resource->description.len,
           (const char *)resource->description.data);
  grpc_status_set_resource(copy, type, str_of(name->data, name->len), description);
}

struct grpc_status *grpc_status_copy(const struct grpc_status *status) {
  struct grpc_status *copy = grpc_status_new(status->code, "%s", status->message);
  copy->retry_delay_us = status->retry_delay_us;
  copy->reason = status->reason;
  copy->reason_domain = status->reason_domain;
  if (status->resource)
    copy_resource(copy, status->resource);
  return copy;
}

/* ---- the whole ---- */

/* Left out when memory is out: details add to what the code and the text say. */
static void add_detail(struct grpc_status *status, struct parts *parts, const char *type_url,
                       const ProtobufCMessage *detail) {
  size_t len = protobuf_c_message_get_packed_size(detail);
  uint8_t *bytes = arena_alloc(&status->packed, len);
  if (!bytes)
    return;
  protobuf_c_message_pack(detail, bytes);
  size_t i = parts->proto.n_details++;
  google__protobuf__any__init(&parts->any[i]);
  parts->any[i].type_url = binary_of(str_z(type_url));
  parts->any[i].value = binary_of(str_of(bytes, len));
  parts->pointers[i] = &parts->any[i];
}

static void add_violations(struct grpc_status *status, struct parts *parts) {
  if (status->violation_count == 0)
    return;
  bool is_over = status->violation_count > GRPC_STATUS_MAX_VIOLATIONS;
  Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
  bad.n_field_violations = is_over ? GRPC_STATUS_MAX_VIOLATIONS : (size_t)status->violation_count;
  bad.field_violations = status->violations;
  add_detail(status, parts, "type.googleapis.com/google.rpc.BadRequest", &bad.base);
}

static void add_retry(struct grpc_status *status, struct parts *parts) {
  if (status->retry_delay_us < 0)
    return;
  Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
  delay.seconds = status->retry_delay_us / 1000000;
  delay.nanos = (int32_t)(status->retry_delay_us % 1000000) * 1000;
  Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
  retry.retry_delay = &delay;
  add_detail(status, parts, "type.googleapis.com/google.rpc.RetryInfo", &retry.base);
}

static void add_reason(struct grpc_status *status, struct parts *parts) {
  if (!status->reason)
    return;
  Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
  info.reason = binary_of(str_z(status->reason));
  info.domain = binary_of(str_z(status->reason_domain));
  add_detail(status, parts, "type.googleapis.com/google.rpc.ErrorInfo", &info.base);
}

/* What can be told without any memory. */
static const Google__Rpc__Status *bare_proto(enum grpc_code code) {
  static Google__Rpc__Status bare = GOOGLE__RPC__STATUS__INIT;
  bare.code = (int32_t)code;
  return &bare;
}

const Google__Rpc__Status *grpc_status_proto(struct grpc_status *status) {
  arena_deinit(&status->packed);
  arena_init(&status->packed, PACKED_LIMIT);
  struct parts *parts = arena_alloc(&status->packed, sizeof(*parts));
  if (!parts)
    return bare_proto(status->code);
  google__rpc__status__init(&parts->proto);
  parts->proto.code = (int32_t)status->code;
  parts->proto.message = binary_of(str_z(status->message));
  parts->proto.details = parts->pointers;
  add_violations(status, parts);
  if (status->resource)
    add_detail(status, parts, "type.googleapis.com/google.rpc.ResourceInfo",
               &status->resource->base);
  add_reason(status, parts);
  add_retry(status, parts);
  return &parts->proto;
}

size_t grpc_status_bytes(const struct grpc_status *status) {
  return sizeof(*status) + status->texts.chunk_bytes + status->packed.chunk_bytes;
}
