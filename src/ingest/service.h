/*
 * service: WriteEvents and StreamEvents on top of ingest.
 */
#pragma once

#include "auditstore/v1/audit_store.service.h"
#include "ingest/ingest.h"
#include "pg/server_clock.h"

struct ingest_service;

/* All must outlive it. */
struct ingest_service *ingest_service_new(struct loop *loop, struct ingest *ingest,
                                          struct server_clock *server_clock,
                                          struct partitions *partitions,
                                          const struct config_ingest *config);
void ingest_service_free(struct ingest_service *service);

/* Sets what the server allows their requests by the settings as they are now. */
void ingest_service_limit(struct ingest_service *service, struct grpc_server *server);

/* Fills the handlers of the two methods. */
void ingest_service_fill(struct ingest_service *service,
                         struct auditstore_v1_audit_store_handlers *handlers);
