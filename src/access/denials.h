/*
 * denials: what becomes of the calls that are turned away: each is counted; some are logged and
 * handed on to be stored as audit events, as many as a source and all together may have.
 *
 * Words: source = a principal, or the address of somebody unknown. What is left out is counted, and
 * the next one that is handed on says how many those were; when that one is lost, the next one says
 * so for both.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* clang-format off */
/*     name                 ErrorInfo.reason         metrics' label        text */
#define DENIAL_REASONS(X)                                                                            \
  X(CREDENTIALS_MISSING, "CREDENTIALS_MISSING", "credentials_missing",                               \
    "this call needs credentials: a bearer token or a client certificate")                           \
  X(CREDENTIALS_INVALID, "CREDENTIALS_INVALID", "credentials_invalid",                               \
    "the credentials are not valid")                                                                 \
  X(ROLE_MISSING,        "ROLE_MISSING",        "role_missing",                                      \
    "the caller may not call this method")
/* clang-format on */

#define DENIAL_ENUM(name, reason, label, text) DENIAL_##name,
enum denial_reason { DENIAL_REASONS(DENIAL_ENUM) DENIAL_REASON_COUNT };
#undef DENIAL_ENUM

const char *denial_reason_name(enum denial_reason reason);
const char *denial_reason_label(enum denial_reason reason);
const char *denial_reason_text(enum denial_reason reason);

/* Texts are borrowed. */
struct denial {
  enum denial_reason reason;
  struct str principal; /* len 0: unknown */
  struct str address;   /* of the peer, without a port */
  const char *method;   /* "/auditstore.v1.AuditStore/WriteEvents" */
  int64_t left_out;     /* denials before this one that nothing was stored of */
};

/* Takes a copy of what it needs. False: it can't be stored. Must not wait. */
typedef bool denial_record_cb(void *arg, const struct denial *denial);

struct denial_stats {
  int64_t denied[DENIAL_REASON_COUNT];
  int64_t stored;
  int64_t left_out;
  int64_t lost; /* handed on and not stored */
};

struct denials;

/* `record` may be NULL: nothing is stored. Times are monotonic. */
struct denials *denials_new(int64_t now_us, denial_record_cb *record, void *arg);
void denials_free(struct denials *denials);

/* denial->left_out is filled in here. */
void denials_note(struct denials *denials, struct denial *denial, int64_t now_us);

/* Tells what became of one that was handed on, and that record() said true to, with its left_out.
 */
void denials_settled(struct denials *denials, int64_t left_out, bool is_stored);

const struct denial_stats *denials_stats(const struct denials *denials);
