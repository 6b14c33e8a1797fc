/* The resolver, in place of libuv's threads. */
#include "model/world.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>

struct pg_resolve {
  struct list_link link;
  int64_t at_us;
  pg_resolve_cb *cb;
  void *arg;
};

enum { SLOW_LOOKUP_US = 400000 };

struct pg_resolve *pg_resolve_start(struct loop *loop, const char *host, pg_resolve_cb *cb,
                                    void *arg) {
  struct world *world = world_current();
  (void)loop;
  (void)host;
  if (world->is_faulty && world_chance(world, 300))
    return NULL;
  struct pg_resolve *resolve = calloc(1, sizeof(*resolve));
  *resolve = (struct pg_resolve){.cb = cb, .arg = arg};
  resolve->at_us = world->now_us + world_latency(world);
  if (!world->server.is_calm && world_chance(world, 30))
    resolve->at_us += world_pick(world, SLOW_LOOKUP_US);
  list_push_back(&world->lookups, &resolve->link);
  return resolve;
}

void pg_resolve_cancel(struct pg_resolve *resolve) {
  struct world *world = world_current();
  resolve->at_us = world->now_us + world_latency(world);
}

static void answer(struct world *world, const struct pg_resolve *resolve) {
  if (!world->server.is_calm && world_chance(world, 40)) {
    resolve->cb(resolve->arg, NULL, "temporary failure in name resolution");
    return;
  }
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(0x0A000000U | world->server.address);
  struct addrinfo info = {.ai_family = AF_INET,
                          .ai_addrlen = sizeof(address),
                          .ai_addr = (struct sockaddr *)(void *)&address};
  resolve->cb(resolve->arg, &info, NULL);
}

int64_t lookups_next_event(const struct world *world) {
  int64_t at_us = CLOCK_NEVER;
  for (struct list_link *link = world->lookups.first; link; link = link->next)
    at_us = deadline_min(at_us, LIST_ENTRY(link, struct pg_resolve, link)->at_us);
  return at_us;
}

static struct pg_resolve *due(const struct world *world) {
  for (struct list_link *link = world->lookups.first; link; link = link->next) {
    struct pg_resolve *resolve = LIST_ENTRY(link, struct pg_resolve, link);
    if (resolve->at_us <= world->now_us)
      return resolve;
  }
  return NULL;
}

void lookups_run(struct world *world) {
  struct pg_resolve *resolve;
  while ((resolve = due(world))) {
    list_remove(&world->lookups, &resolve->link);
    answer(world, resolve);
    free(resolve);
  }
}

void lookups_hurry(struct world *world) {
  for (struct list_link *link = world->lookups.first; link; link = link->next)
    LIST_ENTRY(link, struct pg_resolve, link)->at_us = world->now_us;
}
