#include "grpc/health.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "grpc/health/v1/health.service.h"
#include "grpc/server_private.h"

typedef Grpc__Health__V1__HealthCheckResponse health_response;

enum serving {
  UNKNOWN_SERVICE = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
  SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
  NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
};

struct grpc_health {
  struct grpc_server *server;
  struct grpc_health_v1_health_handlers handlers;
  struct list watchers;
  enum serving serving; /* of every service: readiness is the whole daemon's */
  bool is_draining;
};

struct watcher {
  struct list_link link;
  struct grpc_health *health;
  struct grpc_call *call;
  bool is_known; /* the service exists */
  enum serving sent;
};

/* The empty name is the server as a whole. */
static bool is_known(const struct grpc_health *health, ProtobufCBinaryData service) {
  return service.len == 0 ||
         grpc_server_has_service(health->server, str_of(service.data, service.len));
}

static void init_response(health_response *response, enum serving serving) {
  grpc__health__v1__health_check_response__init(response);
  response->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)serving;
}

/* ---- Check and List ---- */

static void check(void *service, struct grpc_call *call,
                  const Grpc__Health__V1__HealthCheckRequest *request,
                  struct grpc_message *message) {
  struct grpc_health *health = service;
  struct grpc_status *status = NULL;
  if (is_known(health, request->service)) {
    health_response response;
    init_response(&response, health->serving);
    grpc_health_v1_health_check_send(call, &response);
  } else {
    status = grpc_status_new(GRPC_NOT_FOUND, "unknown service");
  }
  grpc_message_release(message);
  grpc_call_finish(call, status);
}

static void list(void *service, struct grpc_call *call,
                 const Grpc__Health__V1__HealthListRequest *request, struct grpc_message *message) {
  struct grpc_health *health = service;
  Grpc__Health__V1__HealthListResponse__StatusesEntry entries[GRPC_MAX_SERVICES + 1];
  Grpc__Health__V1__HealthListResponse__StatusesEntry *pointers[GRPC_MAX_SERVICES + 1];
  Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
  health_response value;
  (void)request;
  init_response(&value, health->serving);
  size_t count = health->server->service_count + 1;
  for (size_t i = 0; i < count; i++) {
    grpc__health__v1__health_list_response__statuses_entry__init(&entries[i]);
    entries[i].key = (char *)(i == 0 ? "" : health->server->services[i - 1].service->name);
    entries[i].value = &value;
    pointers[i] = &entries[i];
  }
  response.n_statuses = count;
  response.statuses = pointers;
  grpc_health_v1_health_list_send(call, &response);
  grpc_message_release(message);
  grpc_call_finish(call, NULL);
}

/* ---- Watch ---- */

static void end_watch(struct watcher *watcher, struct grpc_status *status) {
  list_remove(&watcher->health->watchers, &watcher->link);
  grpc_call_finish(watcher->call, status);
  free(watcher);
}

/* A watcher that takes nothing is told only of the newest status, once it does. */
static void tell(struct watcher *watcher) {
  enum serving serving = watcher->is_known ? watcher->health->serving : UNKNOWN_SERVICE;
  if (watcher->sent == serving || !grpc_call_is_writable(watcher->call))
    return;
  health_response response;
  init_response(&response, serving);
  watcher->sent = serving;
  grpc_health_v1_health_watch_send(watcher->call, &response);
}

static void on_watch_writable(void *arg) {
  tell((struct watcher *)arg);
}

static void on_watch_cancel(void *arg) {
  end_watch((struct watcher *)arg, grpc_status_new(GRPC_CANCELLED, "cancelled"));
}

static void on_watch_drain(void *arg) {
  struct watcher *watcher = arg;
  tell(watcher);
  end_watch(watcher, grpc_status_new(GRPC_UNAVAILABLE, "the server is shutting down"));
}

static void watch(void *service, struct grpc_call *call,
                  const Grpc__Health__V1__HealthCheckRequest *request,
                  struct grpc_message *message) {
  static const struct grpc_call_events events = {on_watch_cancel, on_watch_writable,
                                                 on_watch_drain};
  struct grpc_health *health = service;
  struct watcher *watcher = xcalloc(1, sizeof(*watcher));
  watcher->health = health;
  watcher->call = call;
  watcher->is_known = is_known(health, request->service);
  list_push_back(&health->watchers, &watcher->link);
  grpc_message_release(message);
  grpc_call_set_events(call, &events, watcher);
  tell(watcher);
}

/* ---- life cycle ---- */

struct grpc_health *grpc_health_new(struct grpc_server *server) {
  struct grpc_health *health = xcalloc(1, sizeof(*health));
  health->server = server;
  health->serving = NOT_SERVING;
  health->handlers.check.handle = check;
  health->handlers.check.service = health;
  health->handlers.list.handle = list;
  health->handlers.list.service = health;
  health->handlers.watch.handle = watch;
  health->handlers.watch.service = health;
  grpc_health_v1_health_add(server, &health->handlers);
  grpc_server_answer_early(server, &grpc_health_v1_health_service);
  grpc_server_open_to_anybody(server, &grpc_health_v1_health_service);
  return health;
}

void grpc_health_free(struct grpc_health *health) {
  assert(health->watchers.count == 0);
  free(health);
}

static void set(struct grpc_health *health, enum serving serving) {
  health->serving = serving;
  for (struct list_link *link = health->watchers.first; link; link = link->next)
    tell(LIST_ENTRY(link, struct watcher, link));
}

void grpc_health_set_serving(struct grpc_health *health, bool is_serving) {
  if (!health->is_draining)
    set(health, is_serving ? SERVING : NOT_SERVING);
}

void grpc_health_drain(struct grpc_health *health) {
  health->is_draining = true;
  set(health, NOT_SERVING);
}
