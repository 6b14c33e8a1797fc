/*
 * service: connectrpc.conformance.v1.ConformanceService on our server.
 */
#pragma once

#include "base/loop.h"
#include "grpc/server.h"

/* `loop` outlives the server. */
void conformance_service_add(struct grpc_server *server, struct loop *loop);
