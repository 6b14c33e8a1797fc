/*
 * status: how a call ended.
 *
 * Every call ends in a struct auditstore_status. It is a plain value that owns its texts: init it
 * with zeroes, pass it to a call, read it, deinit it. The library never writes to standard error
 * and never aborts.
 */
#ifndef AUDITSTORE_STATUS_H
#define AUDITSTORE_STATUS_H

#include "auditstore/export.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The status codes of gRPC. */
enum auditstore_code {
  AUDITSTORE_OK = 0,
  AUDITSTORE_CANCELLED = 1,
  AUDITSTORE_UNKNOWN = 2,
  AUDITSTORE_INVALID_ARGUMENT = 3,
  AUDITSTORE_DEADLINE_EXCEEDED = 4,
  AUDITSTORE_NOT_FOUND = 5,
  AUDITSTORE_ALREADY_EXISTS = 6,
  AUDITSTORE_PERMISSION_DENIED = 7,
  AUDITSTORE_RESOURCE_EXHAUSTED = 8,
  AUDITSTORE_FAILED_PRECONDITION = 9,
  AUDITSTORE_ABORTED = 10,
  AUDITSTORE_OUT_OF_RANGE = 11,
  AUDITSTORE_UNIMPLEMENTED = 12,
  AUDITSTORE_INTERNAL = 13,
  AUDITSTORE_UNAVAILABLE = 14,
  AUDITSTORE_DATA_LOSS = 15,
  AUDITSTORE_UNAUTHENTICATED = 16
};

/* One name and value of call metadata. Values of keys that end in "-bin" are bytes (base64 on the
 * wire is the library's business); others are printable ASCII. */
struct auditstore_metadata {
  const char *key;
  const char *value;
  size_t value_len;
};

struct auditstore_status {
  enum auditstore_code code;
  char *message;    /* owned; NULL when empty */
  uint8_t *details; /* owned; a packed google.rpc.Status, or NULL */
  size_t details_len;
  struct auditstore_metadata *trailers; /* owned; trailing metadata other than the status itself */
  size_t trailer_count;
  int is_from_server; /* the code stood in the server's trailers; 0: this end made it, of a reset,
                         an HTTP status, a lost connection or a deadline */
};

/* Frees what it owns and zeroes it. A zeroed status is fine. */
AUDITSTORE_API void auditstore_status_deinit(struct auditstore_status *status);

/* "INVALID_ARGUMENT"; "UNKNOWN" for numbers outside 0..16. Static. */
AUDITSTORE_API const char *auditstore_code_name(enum auditstore_code code);

/* Runs `cb` for each field violation (google.rpc.BadRequest) in the details. Returns their number.
 */
typedef void auditstore_violation_cb(void *arg, const char *field, const char *description);
AUDITSTORE_API size_t auditstore_status_violations(const struct auditstore_status *status,
                                                   auditstore_violation_cb *cb, void *arg);

/* The server's advice when to try again (google.rpc.RetryInfo) in milliseconds; -1: none. */
AUDITSTORE_API int64_t auditstore_status_retry_delay_ms(const struct auditstore_status *status);

/* The same two for a google.rpc.Status inside a message, such as a stream's answer. */
struct Google__Rpc__Status;
AUDITSTORE_API size_t auditstore_rpc_status_violations(const struct Google__Rpc__Status *status,
                                                       auditstore_violation_cb *cb, void *arg);
AUDITSTORE_API int64_t
auditstore_rpc_status_retry_delay_ms(const struct Google__Rpc__Status *status);

#ifdef __cplusplus
}
#endif

#endif
