/* What stands in a google.rpc.Status beside code and text. */
#include "internal.h"

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#include <string.h>

static bool is_type(const Google__Protobuf__Any *any, const char *name) {
  const char *slash = any->type_url ? strrchr(any->type_url, '/') : NULL;
  return slash && strcmp(slash + 1, name) == 0;
}

static size_t report_violations(const Google__Protobuf__Any *any, auditstore_violation_cb *cb,
                                void *arg) {
  Google__Rpc__BadRequest *bad =
      google__rpc__bad_request__unpack(NULL, any->value.len, any->value.data);
  if (!bad)
    return 0;
  size_t count = bad->n_field_violations;
  for (size_t i = 0; cb && i < count; i++)
    cb(arg, bad->field_violations[i]->field, bad->field_violations[i]->description);
  google__rpc__bad_request__free_unpacked(bad, NULL);
  return count;
}

size_t auditstore_rpc_status_violations(const struct Google__Rpc__Status *status,
                                        auditstore_violation_cb *cb, void *arg) {
  size_t count = 0;
  for (size_t i = 0; status && i < status->n_details; i++)
    if (is_type(status->details[i], "google.rpc.BadRequest"))
      count += report_violations(status->details[i], cb, arg);
  return count;
}

static int64_t read_retry_delay_ms(const Google__Protobuf__Any *any) {
  Google__Rpc__RetryInfo *info =
      google__rpc__retry_info__unpack(NULL, any->value.len, any->value.data);
  int64_t ms = -1;
  if (info && info->retry_delay && info->retry_delay->seconds >= 0 &&
      info->retry_delay->seconds < INT32_MAX && info->retry_delay->nanos >= 0)
    ms = info->retry_delay->seconds * 1000 + info->retry_delay->nanos / 1000000;
  google__rpc__retry_info__free_unpacked(info, NULL);
  return ms;
}

int64_t auditstore_rpc_status_retry_delay_ms(const struct Google__Rpc__Status *status) {
  for (size_t i = 0; status && i < status->n_details; i++)
    if (is_type(status->details[i], "google.rpc.RetryInfo"))
      return read_retry_delay_ms(status->details[i]);
  return -1;
}

static Google__Rpc__Status *unpack_details(const struct auditstore_status *status) {
  return status->details ? google__rpc__status__unpack(NULL, status->details_len, status->details)
                         : NULL;
}

size_t auditstore_status_violations(const struct auditstore_status *status,
                                    auditstore_violation_cb *cb, void *arg) {
  Google__Rpc__Status *details = unpack_details(status);
  size_t count = auditstore_rpc_status_violations(details, cb, arg);
  google__rpc__status__free_unpacked(details, NULL);
  return count;
}

int64_t auditstore_status_retry_delay_ms(const struct auditstore_status *status) {
  Google__Rpc__Status *details = unpack_details(status);
  int64_t ms = auditstore_rpc_status_retry_delay_ms(details);
  google__rpc__status__free_unpacked(details, NULL);
  return ms;
}
