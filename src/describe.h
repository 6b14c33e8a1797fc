/*
 * describe: what the daemon tells of itself over gRPC: its services' descriptors, and its name.
 */
#pragma once

#include "config/config.h"
#include "grpc/server.h"

/* Before the server listens, when all services are added. */
void describe_services(struct grpc_server *server, const struct config_server *config);
