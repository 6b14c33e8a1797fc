#include "admin/service.h"

#include <stdlib.h>

#include "admin/info.h"
#include "auditstore/v1/admin.service.h"
#include "base/alloc.h"

struct admin_service {
  struct admin_parts parts;
  int64_t started_us; /* wall clock */
  struct auditstore_v1_admin_handlers handlers;
};

static void handle_get_server_info(void *arg, struct grpc_call *call,
                                   const Auditstore__V1__GetServerInfoRequest *request,
                                   struct grpc_message *message) {
  const struct admin_service *service = arg;
  struct pg_pool_stats stats;
  (void)request;
  pg_pool_stats(service->parts.pool, &stats);
  const struct admin_info_input input = {.version = service->parts.version,
                                         .started_us = service->started_us,
                                         .config = service->parts.config,
                                         .stats = &stats};
  struct arena arena;
  arena_init(&arena, admin_info_arena_bytes());
  Auditstore__V1__GetServerInfoResponse response;
  admin_info_fill(&input, &arena, &response);
  auditstore_v1_admin_get_server_info_send(call, &response);
  arena_deinit(&arena);
  grpc_message_release(message);
  grpc_call_finish(call, NULL);
}

struct admin_service *admin_service_new(const struct admin_parts *parts) {
  struct admin_service *service = xcalloc(1, sizeof(*service));
  service->parts = *parts;
  service->started_us = clock_wall_us(parts->clock);
  service->handlers.get_server_info.handle = handle_get_server_info;
  service->handlers.get_server_info.service = service;
  return service;
}

void admin_service_free(struct admin_service *service) {
  free(service);
}

void admin_service_add(struct admin_service *service, struct grpc_server *server) {
  auditstore_v1_admin_add(server, &service->handlers);
  grpc_server_answer_early(server, &auditstore_v1_admin_service);
}
