/*
 * health: grpc.health.v1 for the server itself.
 */
#pragma once

#include "grpc/server.h"

struct grpc_health;

/* Registers the service. */
struct grpc_health *grpc_health_new(struct grpc_server *server);

/* Watchers are gone by then. */
void grpc_health_free(struct grpc_health *health);

void grpc_health_set_serving(struct grpc_health *health, bool is_serving);

/* NOT_SERVING from now on, whatever is set later. */
void grpc_health_drain(struct grpc_health *health);
