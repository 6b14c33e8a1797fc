/*
 * rejects: the spool's file of events that the store refused for good, so that nothing vanishes.
 *
 * One JSON object a line: {"code":"INVALID_ARGUMENT","message":"...","tag":7,"event":"..."}, the
 * event being the base64 of the packed auditstore.v1.AuditEvent. The file is never read here, and
 * whoever reads it may move it away. After a crash a line may be there twice.
 *
 * Threads: one, without the owner's lock.
 */
#pragma once

#include "auditstore/status.h"
#include "spool.h"

struct reject {
  enum auditstore_code code;
  const char *message;
  uint64_t tag;
  const uint8_t *event;
  size_t event_len;
};

/* Appends the line, up to `room` bytes, and syncs it. *ret_size is the file's size then. */
enum auditstore_code rejects_append(const struct spool *spool, const struct reject *reject,
                                    uint64_t room, uint64_t *ret_size,
                                    struct auditstore_status *status);

/* 0 when there is none. */
uint64_t rejects_size(const struct spool *spool);
