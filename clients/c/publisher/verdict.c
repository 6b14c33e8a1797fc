#include "verdict.h"

#include "auditstore/status.h"

#include <stddef.h>

struct meaning {
  enum verdict event, batch, stream;
};

#define WAITS  VERDICT_WAITS
#define FINAL  VERDICT_FINAL
#define FAILED VERDICT_FAILED

static const struct meaning meanings[] = {
    [AUDITSTORE_OK] = {FAILED, WAITS, WAITS},
    [AUDITSTORE_CANCELLED] = {WAITS, WAITS, WAITS},
    /* Of a stream: what answered wasn't a store. */
    [AUDITSTORE_UNKNOWN] = {FAILED, FAILED, WAITS},
    [AUDITSTORE_INVALID_ARGUMENT] = {FINAL, FINAL, FAILED},
    [AUDITSTORE_DEADLINE_EXCEEDED] = {WAITS, WAITS, WAITS},
    [AUDITSTORE_NOT_FOUND] = {FAILED, WAITS, WAITS},
    [AUDITSTORE_ALREADY_EXISTS] = {FINAL, FINAL, FAILED},
    [AUDITSTORE_PERMISSION_DENIED] = {WAITS, WAITS, WAITS},
    [AUDITSTORE_RESOURCE_EXHAUSTED] = {WAITS, WAITS, WAITS},
    /* Of a batch: it may be the store that isn't set up. */
    [AUDITSTORE_FAILED_PRECONDITION] = {FINAL, FAILED, FAILED},
    [AUDITSTORE_ABORTED] = {WAITS, WAITS, WAITS},
    [AUDITSTORE_OUT_OF_RANGE] = {FINAL, FINAL, FAILED},
    /* Of a batch, as NOT_FOUND: it is another server. */
    [AUDITSTORE_UNIMPLEMENTED] = {FAILED, WAITS, WAITS},
    [AUDITSTORE_INTERNAL] = {FAILED, FAILED, FAILED},
    [AUDITSTORE_UNAVAILABLE] = {WAITS, WAITS, WAITS},
    [AUDITSTORE_DATA_LOSS] = {FAILED, FAILED, FAILED},
    [AUDITSTORE_UNAUTHENTICATED] = {WAITS, WAITS, WAITS},
};

static const struct meaning *meaning_of(int code) {
  size_t count = sizeof(meanings) / sizeof(meanings[0]);
  return &meanings[code >= 0 && (size_t)code < count ? code : AUDITSTORE_UNKNOWN];
}

enum verdict verdict_of_event(int code) {
  return meaning_of(code)->event;
}

enum verdict verdict_of_batch(int code) {
  return meaning_of(code)->batch;
}

enum verdict verdict_of_stream(int code) {
  return meaning_of(code)->stream;
}
