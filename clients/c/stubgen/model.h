/*
 * model: the services of one .proto file with every name that the generated code needs, checked.
 */
#pragma once

#include <stdbool.h>

#include "google/protobuf/compiler/plugin.pb-c.h"
#include "text.h"

enum method_kind { METHOD_UNARY, METHOD_CLIENT_STREAM, METHOD_SERVER_STREAM, METHOD_BIDI };

enum { MODEL_MAX_VARS = 16 };

struct model_vars {
  struct text_var vars[MODEL_MAX_VARS + 1];
  int count;
};

/* Variables of a method: those of its service and
 *   $name$ WriteEvents                       $method$ write_events
 *   $m$    auditstore_v1_audit_store_write_events
 *   $In$   Auditstore__V1__WriteEventsRequest    $in$  auditstore__v1__write_events_request
 *   $Out$, $out$ likewise                    $free$ the call that frees `response` */
struct model_method {
  enum method_kind kind;
  const char *comment; /* borrowed from the request; NULL: none */
  struct model_vars names;
};

/* Variables of a service: those of the file and
 *   $service$ auditstore.v1.AuditStore       $s$ auditstore_v1_audit_store */
struct model_service {
  const char *comment; /* borrowed from the request; NULL: none */
  struct model_vars names;
  struct model_method *methods; /* owned */
  size_t method_count;
};

/* Variables of a file:
 *   $file$ auditstore/v1/audit_store.proto   $stem$ auditstore/v1/audit_store
 *   $f$    auditstore_v1_audit_store         $F$    AUDITSTORE_V1_AUDIT_STORE */
struct model {
  struct model_vars names;
  struct model_service *services; /* owned */
  size_t service_count;
};

typedef Google__Protobuf__Compiler__CodeGeneratorRequest generator_request;
typedef Google__Protobuf__FileDescriptorProto file_descriptor;

/* Fails for a file name that can't stand in C, a method whose C name is a keyword, and a message
 * type that no file of the request defines. `request` and `file` must outlive the model. */
int model_init(struct model *model, const generator_request *request, const file_descriptor *file,
               struct gen_error *err);
void model_deinit(struct model *model); /* also after a failed init */

/* The value of one variable. */
const char *model_var(const struct model_vars *names, const char *key);

/* Which suffixes the generated code appends to $s$ and $m$. Lists end with NULL. */
struct model_suffixes {
  const char *const *service;
  const char *const *unary;
  const char *const *streaming;
};

/* Fails when two methods would give the same name in C. */
int model_check_names(const struct model *model, const struct model_suffixes *suffixes,
                      struct gen_error *err);
