/*
 * pack: the caller's events as records, in one run of bytes; see record.h.
 */
#pragma once

#include "auditstore/publisher.h"
#include "base/uuid.h"

#include <pthread.h>

/* Where missing ids come from. */
struct id_maker {
  pthread_mutex_t lock;
  struct uuid_v7 generator;
};

/* Zeroed is fine. */
struct packed {
  uint8_t *bytes; /* records, one behind the other; owned, or `own` */
  size_t len;
  size_t count;
  uint8_t own[2048];
};

struct pack_input {
  const Auditstore__V1__AuditEvent *const *events;
  const uint64_t *tags; /* may be NULL */
  size_t count;
  size_t max_event_bytes;
  bool names_index; /* messages say which one */
};

/* Checks and packs them; missing ids are made, missing times are now. */
enum auditstore_code packed_init(struct packed *p, const struct pack_input *input,
                                 struct id_maker *ids, struct auditstore_status *status);
void packed_deinit(struct packed *p);
