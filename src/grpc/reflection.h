/*
 * reflection: tells clients what services there are and what their messages look like
 * (grpc.reflection.v1 and, for older tools, v1alpha). Inside this folder only: see
 * grpc_server_reflect().
 */
#pragma once

#include "grpc/server.h"

struct grpc_reflection;

/* Adds its services to `server`, which outlives it. */
struct grpc_reflection *grpc_reflection_new(struct grpc_server *server);

/* Describes services by a FileDescriptorSet, which outlives it. */
void grpc_reflection_describe(struct grpc_reflection *reflection, struct str set);

/* When no call is left. NULL is fine. */
void grpc_reflection_free(struct grpc_reflection *reflection);
