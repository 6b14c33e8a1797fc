/*
 * service: GetEvent and ListEvents.
 */
#pragma once

#include "auditstore/v1/audit_store.service.h"
#include "config/config.h"
#include "pg/pool.h"

struct query_service;

struct query_service *query_service_new(struct loop *loop, struct pg_pool *pool,
                                        const struct config_query *config);
void query_service_free(struct query_service *service);

/* Fills the handlers of the two methods. */
void query_service_fill(struct query_service *service,
                        struct auditstore_v1_audit_store_handlers *handlers);
