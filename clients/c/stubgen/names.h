/*
 * names: from names in .proto files to names in C. Types follow protobuf-c, whose code the stubs
 * use. Every function returns a heap text that the caller frees.
 */
#pragma once

#include <stdbool.h>

/* "auditstore.v1.WriteEventsRequest" -> "Auditstore__V1__WriteEventsRequest" */
char *name_type(const char *full_name);

/* "auditstore.v1.WriteEventsRequest" -> "auditstore__v1__write_events_request" */
char *name_type_lower(const char *full_name);

/* "auditstore.v1.AuditStore" -> "auditstore_v1_audit_store" */
char *name_snake(const char *full_name);

/* "auditstore/v1/audit_store.proto" -> "auditstore/v1/audit_store" */
char *name_stem(const char *file_name);

/* "auditstore/v1/audit_store" -> "auditstore_v1_audit_store" */
char *name_symbol(const char *stem);

/* "auditstore_v1_audit_store" -> "AUDITSTORE_V1_AUDIT_STORE" */
char *name_upper(const char *symbol);

/* Whether C keeps the word for itself. */
bool name_is_keyword(const char *word);
