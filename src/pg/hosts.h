/*
 * hosts: database.host, a list such as "db1,db2:5433,[::1]:5434,/run/postgresql", and the addresses
 * behind its names.
 *
 * Words: endpoint = one address with a port, and the name it was found under; look-up = asking the
 * resolver for all names of the list at once, on libuv's threads. Loop thread only.
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "config/config.h"
#include "config/hosts.h"

enum {
  PG_ADDRESS_SIZE = 64,
  PG_ENDPOINTS_MAX = 16 /* tried within one dial */
};

struct pg_endpoint {
  char host[CONFIG_HOST_SIZE];   /* as in the list: certificates are checked against it */
  char address[PG_ADDRESS_SIZE]; /* numeric; "" for a socket's folder */
  int port;
};

struct pg_endpoints {
  struct pg_endpoint items[PG_ENDPOINTS_MAX];
  int count;
};

/* Whether the list has names that a look-up must resolve. */
bool pg_hosts_need_lookup(const struct config_database *config);

/* Whether one of the endpoints has that numeric address. */
bool pg_endpoints_have(const struct pg_endpoints *endpoints, const char *address);

/* `endpoints` is NULL when no name of the list has an address; `problem` says why. */
typedef void pg_lookup_cb(void *arg, const struct pg_endpoints *endpoints, const char *problem);

struct pg_lookup;

/* cb runs exactly once, from the loop unless there is nothing to look up: then inside this call,
 * which returns NULL. The config is read during the call only. */
struct pg_lookup *pg_lookup_start(struct loop *loop, const struct config_database *config,
                                  pg_lookup_cb *cb, void *arg);

/* cb won't run; the memory frees itself when the resolver answers. */
void pg_lookup_abandon(struct pg_lookup *lookup);
