/*
 * service: the Admin service of proto/auditstore/v1/admin.proto. It only looks, and never waits.
 */
#pragma once

#include "config/config.h"
#include "grpc/server.h"
#include "pg/pool.h"

struct admin_service;

/* Whom it tells of; all are borrowed and outlive the service. */
struct admin_parts {
  const struct config *config;
  const struct pg_pool *pool;
  const struct clock *clock;
  const char *version; /* the daemon's */
};

/* What started_at says is the time of this call. */
struct admin_service *admin_service_new(const struct admin_parts *parts);
void admin_service_free(struct admin_service *service);

/* Adds it to the server before listening; it is answered before grpc_server_open(), too. */
void admin_service_add(struct admin_service *service, struct grpc_server *server);
