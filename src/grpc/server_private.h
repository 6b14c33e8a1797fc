/*
 * server_private: the server as the other files of this folder see it.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "base/rivals.h"
#include "grpc/deadlines.h"
#include "grpc/gzip.h"
#include "grpc/memory.h"
#include "grpc/server.h"
#include "net/listener.h"

#define GRPC_MAX_SERVICES 16

struct grpc_health;
struct grpc_reflection;
struct grpc_session;

struct grpc_registered {
  const struct grpc_service *service; /* borrowed */
  const void *handlers;               /* borrowed */
};

/* One method as it is looked up. */
struct grpc_route {
  struct str path;
  const struct grpc_method *method;
  const void *handlers;
  size_t room_bytes; /* a request's memory beyond what follows from its length */
  bool is_early;     /* answered before the server is open */
  bool is_public;    /* answered to anybody */
};

struct grpc_server {
  struct loop *loop;                  /* borrowed */
  const struct config_server *config; /* borrowed */
  struct net_listener *listener;      /* NULL when it doesn't listen */
  nghttp2_session_callbacks *callbacks;
  nghttp2_option *options;
  struct grpc_registered services[GRPC_MAX_SERVICES];
  size_t service_count;
  struct grpc_route *routes; /* owned; sorted */
  size_t route_count;
  struct list sessions;
  struct list orphans; /* calls whose connection is gone and whose handler still runs */
  struct grpc_deadlines deadlines;
  struct grpc_health *health; /* owned */
  struct grpc_gzip gzip;
  struct grpc_reflection *reflection; /* owned; NULL: none */
  const char *about;                  /* borrowed */
  struct grpc_memory memory;
  struct grpc_server_stats stats;

  /* Looks after what is slow to happen (handshakes, stalled streams) while there are sessions. */
  struct loop_timer tick;
  int64_t tick_us;
  bool is_ticking;

  grpc_open_cb *on_open; /* may be NULL */
  void *on_open_arg;
  grpc_message_cb *on_message; /* may be NULL */
  void *on_message_arg;
  grpc_costly_cb *on_costly; /* may be NULL */
  void *on_costly_arg;

  bool has_tls;
  bool is_open; /* calls are let through to the services */
  bool is_draining;
  bool is_cut; /* the drain's deadline passed */
  bool is_done;
  struct loop_timer drain_timer;
  struct loop_timer linger_timer; /* until streams are asked to end */
  bool ends_streams;              /* it is over */
  struct loop_task done_task;
  loop_task_cb *done;
  void *done_arg;
  int open_timers;

  struct rivals readers;       /* connections that were read */
  struct grpc_deadlines rests; /* sessions that aren't read for a moment */
};

/* NULL when there is no such method. */
const struct grpc_route *grpc_server_route(const struct grpc_server *server, struct str path);

/* Anybody may call this service, added before: its messages have at most 4 KiB and come
 * uncompressed, few of its answers wait for a peer, and streams whose peer asks nothing for
 * server.write_timeout are ended. */
void grpc_server_open_to_anybody(struct grpc_server *server, const struct grpc_service *service);

/* Whether `name` is a service of this server. */
bool grpc_server_has_service(const struct grpc_server *server, struct str name);

/* What a connection takes that does nothing, besides what nghttp2 does. */
size_t grpc_server_connection_bytes(const struct grpc_server *server);

/* Makes sure that the tick runs; it stops by itself. */
void grpc_server_start_tick(struct grpc_server *server);

/* To be called when a session or an orphan went away: the drain may be complete. */
void grpc_server_check_drained(struct grpc_server *server);
