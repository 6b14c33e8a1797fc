/*
 * metadata: names and values that go with a request, checked and in the form of the wire.
 */
#pragma once

#include "auditstore/status.h"
#include "base/buf.h"

#include <stdbool.h>

#define MAX_METADATA 64
/* Of all names and values of a list; servers accept little more. */
#define MAX_METADATA_BYTES ((size_t)16 * 1024)

struct metadata {
  struct metadata_entry {
    size_t key_len, value_len; /* lie behind one another in `bytes`, those of all entries */
  } * entries;                 /* owned */
  size_t count;
  struct buf bytes;
};

/* Copies; values of "-bin" keys as base64. False: `status` says what is wrong, and *m is zeroed. */
bool metadata_init(struct metadata *m, const struct auditstore_metadata *from, size_t count,
                   struct auditstore_status *status);

/* Wipes and frees it: values may be secret. A zeroed one is fine. */
void metadata_deinit(struct metadata *m);
