/*
 * service: GetEvent and ListEvents, each in its turn (turns.h).
 */
#pragma once

#include "auditstore/v1/audit_store.service.h"
#include "config/config.h"
#include "pg/pool.h"
#include "query/turns.h"

struct query_service;

struct query_service *query_service_new(struct loop *loop, struct pg_pool *pool,
                                        const struct config_query *config);

/* When no call is left and the pool is drained. NULL is fine. The memory goes once the loop has
 * closed its handles. */
void query_service_free(struct query_service *service);

/* Fills the handlers of the two methods. */
void query_service_fill(struct query_service *service,
                        struct auditstore_v1_audit_store_handlers *handlers);

struct query_stats {
  struct turns_stats turns;
  const struct config_query *limits; /* borrowed; in effect */
  int64_t abandoned;                 /* whose caller left while PostgreSQL was at work on them */
};
void query_service_stats(const struct query_service *service, struct query_stats *ret_stats);
