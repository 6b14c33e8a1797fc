/*
 * emit: what is written for one .proto file. Each pair of functions writes a header and a source.
 */
#pragma once

#include "model.h"

/* X.stub.h and X.stub.c: typed calls over auditstore/call.h. */
int emit_client_check(const struct model *model, struct gen_error *err);
void emit_client_header(FILE *out, const struct model *model);
void emit_client_source(FILE *out, const struct model *model);

/* X.service.h and X.service.c: typed handlers over grpc/server.h. */
int emit_server_check(const struct model *model, struct gen_error *err);
void emit_server_header(FILE *out, const struct model *model);
void emit_server_source(FILE *out, const struct model *model);

/* X.descriptor.h and X.descriptor.c: the packed FileDescriptorSet of the file. */
void emit_descriptor_header(FILE *out, const struct model *model);
void emit_descriptor_source(FILE *out, const struct model *model, const uint8_t *set, size_t len);
