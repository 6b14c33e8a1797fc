/*
 * status: how a call ends, with typed details, for trailers and for embedding in messages.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/wire.h"

struct grpc_status; /* opaque; the caller of _new owns it until it hands it on */

/* At most so many violations are kept. */
#define GRPC_STATUS_MAX_VIOLATIONS 20

struct grpc_status *grpc_status_new(enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The code of an error, with RetryInfo for a retryable kind. Takes no struct error: the text of one
 * is for operators, and may name hosts, ports, roles, files and statements. Callers get words that
 * were written for them. */
struct grpc_status *grpc_status_of_code(enum error_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* RESOURCE_EXHAUSTED with RetryInfo: server.max_inbound_bytes are used up. Nothing of what was
 * asked was done. */
struct grpc_status *grpc_status_short_of_memory(void);

void grpc_status_free(struct grpc_status *status); /* NULL is fine */

/* Another one of the same code, text and details, violations apart. */
struct grpc_status *grpc_status_copy(const struct grpc_status *status);

enum grpc_code grpc_status_code(const struct grpc_status *status);
const char *grpc_status_message(const struct grpc_status *status);

/* Adds a google.rpc.BadRequest violation to *status; NULL becomes an INVALID_ARGUMENT whose message
 * is its first violation and how many follow: 'events[3].actor.ip: "10.0.0.1:80" has a port; leave
 * out ":80" (and 2 more)'. Most clients show nothing else. `field` and the description are copied;
 * what they hold of a caller's text went through quote(). */
void grpc_status_violate(struct grpc_status **status, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int grpc_status_violation_count(const struct grpc_status *status); /* also those not kept */

/* Adds google.rpc.RetryInfo. */
void grpc_status_set_retry_delay(struct grpc_status *status, int64_t delay_us);

/* Adds google.rpc.ErrorInfo. Texts are static. */
void grpc_status_set_reason(struct grpc_status *status, const char *reason, const char *domain);

/* Adds google.rpc.ResourceInfo. Texts are copied. */
void grpc_status_set_resource(struct grpc_status *status, const char *type, struct str name,
                              const char *description);

/* The memory that it takes now. */
size_t grpc_status_bytes(const struct grpc_status *status);

/* The whole as google.rpc.Status, valid until the status is changed or freed. */
const Google__Rpc__Status *grpc_status_proto(struct grpc_status *status);
