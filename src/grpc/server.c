#include "grpc/server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "grpc/call.h"
#include "grpc/gzip.h"
#include "grpc/health.h"
#include "grpc/reflection.h"
#include "grpc/server_private.h"

#define MIN_TICK_US 10000
#define MAX_TICK_US 250000
/* When a server drains, streams that end by themselves are given so much of the time there is. */
#define LINGER_MAX_US      1000000
#define LINGER_SHARE       4
#define DEFAULT_ROOM_BYTES ((size_t)64 * 1024)

/* ---- methods ---- */

static int compare_paths(struct str a, struct str b) {
  if (a.len != b.len)
    return a.len < b.len ? -1 : 1;
  return memcmp(a.data, b.data, a.len);
}

static int compare_routes(const void *a, const void *b) {
  return compare_paths(((const struct grpc_route *)a)->path, ((const struct grpc_route *)b)->path);
}

static int compare_path_to_route(const void *path, const void *route) {
  return compare_paths(*(const struct str *)path, ((const struct grpc_route *)route)->path);
}

const struct grpc_route *grpc_server_route(const struct grpc_server *server, struct str path) {
  return bsearch(&path, server->routes, server->route_count, sizeof(*server->routes),
                 compare_path_to_route);
}

bool grpc_server_has_service(const struct grpc_server *server, struct str name) {
  for (size_t i = 0; i < server->service_count; i++) {
    if (str_is(name, server->services[i].service->name))
      return true;
  }
  return false;
}

void grpc_server_add(struct grpc_server *server, const struct grpc_service *service,
                     const void *handlers) {
  assert(server->service_count < GRPC_MAX_SERVICES);
  assert(!server->listener);
  server->services[server->service_count++] = (struct grpc_registered){service, handlers};
  size_t count = server->route_count + service->method_count;
  server->routes = xrealloc(server->routes, count * sizeof(*server->routes));
  for (size_t i = 0; i < service->method_count; i++) {
    const struct grpc_method *method = &service->methods[i];
    server->routes[server->route_count++] = (struct grpc_route){.path = str_z(method->path),
                                                                .method = method,
                                                                .handlers = handlers,
                                                                .room_bytes = DEFAULT_ROOM_BYTES};
  }
  qsort(server->routes, server->route_count, sizeof(*server->routes), compare_routes);
}

static bool is_of(const struct grpc_service *service, const struct grpc_method *method) {
  for (size_t i = 0; i < service->method_count; i++) {
    if (method == &service->methods[i])
      return true;
  }
  return false;
}

void grpc_server_answer_early(struct grpc_server *server, const struct grpc_service *service) {
  for (size_t i = 0; i < server->route_count; i++)
    server->routes[i].is_early |= is_of(service, server->routes[i].method);
}

void grpc_server_open_to_anybody(struct grpc_server *server, const struct grpc_service *service) {
  for (size_t i = 0; i < server->route_count; i++)
    server->routes[i].is_public |= is_of(service, server->routes[i].method);
}

void grpc_server_set_room(struct grpc_server *server, const struct grpc_service *service,
                          size_t bytes) {
  for (size_t i = 0; i < server->route_count; i++) {
    if (is_of(service, server->routes[i].method))
      server->routes[i].room_bytes = bytes;
  }
}

/* ---- the tick ---- */

static int64_t choose_tick(const struct config_server *config) {
  int64_t tick = deadline_min(config->handshake_timeout_us, config->write_timeout_us) / 4;
  if (tick < MIN_TICK_US)
    return MIN_TICK_US;
  return deadline_min(tick, MAX_TICK_US);
}

static void arm_tick(struct grpc_server *server, int64_t now_us) {
  server->is_ticking = true;
  loop_timer_set(&server->tick, now_us + server->tick_us);
}

static void on_tick(void *arg) {
  struct grpc_server *server = arg;
  int64_t now = clock_monotonic_us(server->loop->clock);
  server->is_ticking = false;
  for (struct list_link *link = server->sessions.first; link; link = link->next)
    grpc_session_tick(LIST_ENTRY(link, struct grpc_session, link), now);
  if (grpc_memory_tick(&server->memory, now) || server->sessions.count > 0)
    arm_tick(server, now);
}

void grpc_server_start_tick(struct grpc_server *server) {
  if (!server->is_ticking)
    arm_tick(server, clock_monotonic_us(server->loop->clock));
}

/* ---- life cycle ---- */

static void on_drain_deadline(void *arg);
static void on_linger_over(void *arg);
static void run_done(void *arg);

struct grpc_server *grpc_server_new(struct loop *loop, const struct config_server *config) {
  struct grpc_server *server = xcalloc(1, sizeof(*server));
  server->loop = loop;
  server->config = config;
  server->tick_us = choose_tick(config);
  grpc_memory_init(&server->memory, server);
  server->callbacks = grpc_session_callbacks();
  server->options = grpc_session_options(config);
  grpc_deadlines_init(&server->deadlines, loop, grpc_call_deadline_passed);
  grpc_deadlines_init(&server->rests, loop, grpc_share_rested);
  loop_timer_init(&server->tick, loop, on_tick, server);
  loop_timer_init(&server->drain_timer, loop, on_drain_deadline, server);
  loop_timer_init(&server->linger_timer, loop, on_linger_over, server);
  server->open_timers = 5;
  server->done_task.cb = run_done;
  server->done_task.arg = server;
  server->about = "This is a gRPC server.\n";
  server->health = grpc_health_new(server);
  return server;
}

size_t grpc_server_connection_bytes(const struct grpc_server *server) {
  return server->has_tls ? GRPC_TLS_CONNECTION_BYTES : GRPC_CONNECTION_BYTES;
}

int grpc_server_listen(struct grpc_server *server, struct tls_context *tls, int *ret_port,
                       struct error *err) {
  const struct net_listener_options options = {
      .address = server->config->listen,
      .max_connections = server->config->max_connections,
      .max_per_address = server->config->max_connections_per_address,
      .write_timeout_us = server->config->write_timeout_us,
      .tls = tls,
      .on_accept = grpc_session_accept,
      .user = server,
  };
  server->has_tls = tls != NULL;
  size_t fitting = grpc_memory_connections(&server->memory, grpc_server_connection_bytes(server));
  if (fitting < (size_t)server->config->max_connections)
    log_warn(
        "server.max_inbound_bytes has room for fewer connections than "
        "server.max_connections allows: further ones will be refused",
        KV("connections", fitting), KV("max_connections", server->config->max_connections));
  int rc = net_listener_new(&server->listener, server->loop, &options, err);
  if (rc == 0 && ret_port)
    *ret_port = net_listener_port(server->listener);
  return rc;
}

void grpc_server_open(struct grpc_server *server) {
  server->is_open = true;
}

void grpc_server_reflect(struct grpc_server *server, const struct str *sets, size_t count) {
  server->reflection = grpc_reflection_new(server);
  for (size_t i = 0; i < count; i++)
    grpc_reflection_describe(server->reflection, sets[i]);
}

void grpc_server_set_about(struct grpc_server *server, const char *about) {
  server->about = about;
}

void grpc_server_on_open(struct grpc_server *server, grpc_open_cb *on_open, void *arg) {
  server->on_open = on_open;
  server->on_open_arg = arg;
}

void grpc_server_on_message(struct grpc_server *server, grpc_message_cb *on_message, void *arg) {
  server->on_message = on_message;
  server->on_message_arg = arg;
}

void grpc_server_on_costly(struct grpc_server *server, grpc_costly_cb *on_costly, void *arg) {
  server->on_costly = on_costly;
  server->on_costly_arg = arg;
}

const struct grpc_method *grpc_server_method(const struct grpc_server *server, size_t index) {
  return index < server->route_count ? server->routes[index].method : NULL;
}

void grpc_server_set_serving(struct grpc_server *server, bool is_serving) {
  grpc_health_set_serving(server->health, is_serving);
}

static void on_timer_closed(void *arg) {
  struct grpc_server *server = arg;
  if (--server->open_timers == 0)
    free(server);
}

static void disown_orphans(struct grpc_server *server) {
  while (server->orphans.first)
    grpc_call_disown(LIST_ENTRY(server->orphans.first, struct grpc_call, link));
}

void grpc_server_free(struct grpc_server *server) {
  if (!server)
    return;
  assert(!server->listener && server->sessions.count == 0);
  disown_orphans(server);
  grpc_memory_deinit(&server->memory);
  loop_cancel(server->loop, &server->done_task);
  grpc_health_free(server->health);
  grpc_gzip_deinit(&server->gzip);
  grpc_reflection_free(server->reflection);
  nghttp2_session_callbacks_del(server->callbacks);
  nghttp2_option_del(server->options);
  free(server->routes);
  grpc_deadlines_close(&server->deadlines, on_timer_closed, server);
  grpc_deadlines_close(&server->rests, on_timer_closed, server);
  loop_timer_close(&server->tick, on_timer_closed, server);
  loop_timer_close(&server->drain_timer, on_timer_closed, server);
  loop_timer_close(&server->linger_timer, on_timer_closed, server);
}

/* ---- draining ---- */

static void run_done(void *arg) {
  struct grpc_server *server = arg;
  server->done(server->done_arg);
}

void grpc_server_check_drained(struct grpc_server *server) {
  bool has_calls = server->orphans.count > 0 && !server->is_cut;
  if (!server->is_draining || server->is_done || server->listener || server->sessions.count > 0 ||
      has_calls)
    return;
  server->is_done = true;
  loop_timer_set(&server->drain_timer, CLOCK_NEVER);
  loop_timer_set(&server->linger_timer, CLOCK_NEVER);
  loop_defer(server->loop, &server->done_task);
}

static void on_linger_over(void *arg) {
  struct grpc_server *server = arg;
  server->ends_streams = true;
  for (struct list_link *link = server->sessions.first; link; link = link->next)
    grpc_session_end_streams(LIST_ENTRY(link, struct grpc_session, link));
}

static void on_drain_deadline(void *arg) {
  struct grpc_server *server = arg;
  server->is_cut = true;
  for (struct list_link *link = server->sessions.first; link; link = link->next)
    grpc_session_cut(LIST_ENTRY(link, struct grpc_session, link));
  grpc_server_check_drained(server);
}

static void count_accepted(const struct grpc_server *server, struct grpc_server_stats *stats) {
  const struct net_listener_stats seen = net_listener_stats(server->listener);
  stats->accepted = seen.accepted;
  stats->refused = seen.refused;
  stats->refused_address = seen.refused_address;
  stats->exhausted = seen.exhausted;
}

void grpc_server_stats(const struct grpc_server *server, struct grpc_server_stats *ret_stats) {
  *ret_stats = server->stats;
  if (server->listener)
    count_accepted(server, ret_stats);
  ret_stats->connections = server->sessions.count;
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    ret_stats->memory[i] = (int64_t)server->memory.kinds[i].used_bytes;
  ret_stats->max_connections = server->config->max_connections;
}

static void on_listener_closed(void *arg) {
  struct grpc_server *server = arg;
  server->listener = NULL;
  grpc_server_check_drained(server);
}

void grpc_server_drain(struct grpc_server *server, int64_t deadline_us, loop_task_cb *done,
                       void *arg) {
  assert(!server->is_draining);
  server->is_draining = true;
  server->done = done;
  server->done_arg = arg;
  int64_t now_us = clock_monotonic_us(server->loop->clock);
  int64_t linger_us = deadline_min((deadline_us - now_us) / LINGER_SHARE, LINGER_MAX_US);
  loop_timer_set(&server->drain_timer, deadline_us);
  loop_timer_set(&server->linger_timer, now_us + linger_us);
  grpc_health_drain(server->health);
  for (struct list_link *link = server->sessions.first; link; link = link->next)
    grpc_session_drain(LIST_ENTRY(link, struct grpc_session, link));
  if (server->listener)
    count_accepted(server, &server->stats);
  if (server->listener)
    net_listener_close(server->listener, on_listener_closed, server);
  else
    grpc_server_check_drained(server);
}
