/*
 * service: grpc.testing.TestService on our server.
 */
#pragma once

#include "base/loop.h"
#include "grpc/server.h"

/* Adds the service, and the hook that gives the tests' metadata back. `loop` outlives the server.
 */
void interop_service_add(struct grpc_server *server, struct loop *loop);
