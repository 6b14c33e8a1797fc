#include "pg/hosts.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/internal.h"

enum { ADDRESSES_MAX = 8 }; /* of one name */

/* Each name keeps its own addresses, so that their order is the list's, whatever order the answers
 * come in. */
struct question {
  struct pg_lookup *lookup;
  struct pg_resolve *resolve; /* while it is open */
  struct config_host host;
  char addresses[ADDRESSES_MAX][PG_ADDRESS_SIZE];
  int address_count;
};

struct pg_lookup {
  struct question questions[CONFIG_HOSTS_MAX];
  int count;
  int open;
  char problem[PG_DIAL_TEXT_SIZE]; /* the last name's that has no address */
  pg_lookup_cb *cb;
  void *arg;
};

/* ---- addresses ---- */

struct address {
  int family;
  unsigned char bytes[16];
};

static bool parse_address(const char *text, struct address *ret_address) {
  *ret_address = (struct address){.family = AF_INET};
  if (uv_inet_pton(AF_INET, text, ret_address->bytes) == 0)
    return true;
  ret_address->family = AF_INET6;
  return uv_inet_pton(AF_INET6, text, ret_address->bytes) == 0;
}

static bool is_literal(const char *host) {
  struct address address;
  return host[0] == '/' || parse_address(host, &address);
}

bool pg_endpoints_have(const struct pg_endpoints *endpoints, const char *address) {
  struct address wanted;
  struct address other;
  if (!parse_address(address, &wanted))
    return false;
  for (int i = 0; i < endpoints->count; i++) {
    if (parse_address(endpoints->items[i].address, &other) &&
        memcmp(&wanted, &other, sizeof(wanted)) == 0)
      return true;
  }
  return false;
}

/* ---- the list ---- */

static int parse(const struct config_database *config,
                 struct config_host ret_hosts[CONFIG_HOSTS_MAX]) {
  int count = config_hosts_parse(str_z(config->host), ret_hosts);
  for (int i = 0; i < count; i++) {
    if (ret_hosts[i].port == 0)
      ret_hosts[i].port = config->port;
  }
  return count;
}

bool pg_hosts_need_lookup(const struct config_database *config) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  int count = parse(config, hosts);
  for (int i = 0; i < count; i++) {
    if (!is_literal(hosts[i].name))
      return true;
  }
  return false;
}

/* ---- a look-up ---- */

static void add_endpoint(struct pg_endpoints *endpoints, const struct config_host *host,
                         const char *address) {
  if (endpoints->count == PG_ENDPOINTS_MAX)
    return;
  struct pg_endpoint *endpoint = &endpoints->items[endpoints->count++];
  snprintf(endpoint->host, sizeof(endpoint->host), "%s", host->name);
  snprintf(endpoint->address, sizeof(endpoint->address), "%s", address);
  endpoint->port = host->port;
}

static void gather(const struct pg_lookup *lookup, struct pg_endpoints *ret_endpoints) {
  ret_endpoints->count = 0;
  for (int i = 0; i < lookup->count; i++) {
    const struct question *question = &lookup->questions[i];
    for (int j = 0; j < question->address_count; j++)
      add_endpoint(ret_endpoints, &question->host, question->addresses[j]);
  }
}

static void end(struct pg_lookup *lookup) {
  struct pg_endpoints endpoints;
  gather(lookup, &endpoints);
  if (lookup->cb && endpoints.count > 0)
    lookup->cb(lookup->arg, &endpoints, NULL);
  else if (lookup->cb)
    lookup->cb(lookup->arg, NULL, lookup->problem);
  free(lookup);
}

static void note_problem(struct pg_lookup *lookup, const struct config_host *host,
                         const char *problem) {
  snprintf(lookup->problem, sizeof(lookup->problem), "can't resolve \"%s\": %s", host->name,
           problem);
}

static void on_resolved(void *arg, const struct addrinfo *addresses, const char *problem) {
  struct question *question = arg;
  struct pg_lookup *lookup = question->lookup;
  question->resolve = NULL;
  const struct addrinfo *at = addresses;
  for (; at && question->address_count < ADDRESSES_MAX; at = at->ai_next) {
    if (uv_ip_name(at->ai_addr, question->addresses[question->address_count], PG_ADDRESS_SIZE) == 0)
      question->address_count++;
  }
  if (question->address_count == 0)
    note_problem(lookup, &question->host, problem ? problem : "no address");
  if (--lookup->open == 0)
    end(lookup);
}

static void ask(struct pg_lookup *lookup, struct loop *loop, struct question *question) {
  const char *name = question->host.name;
  question->lookup = lookup;
  if (is_literal(name)) {
    if (name[0] != '/')
      memcpy(question->addresses[0], name, strnlen(name, PG_ADDRESS_SIZE - 1));
    question->address_count = 1;
    return;
  }
  question->resolve = pg_resolve_start(loop, name, on_resolved, question);
  if (question->resolve)
    lookup->open++;
  else
    note_problem(lookup, &question->host, "out of memory");
}

struct pg_lookup *pg_lookup_start(struct loop *loop, const struct config_database *config,
                                  pg_lookup_cb *cb, void *arg) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  struct pg_lookup *lookup = xcalloc(1, sizeof(*lookup));
  lookup->cb = cb;
  lookup->arg = arg;
  lookup->count = parse(config, hosts);
  for (int i = 0; i < lookup->count; i++) {
    lookup->questions[i].host = hosts[i];
    ask(lookup, loop, &lookup->questions[i]);
  }
  if (lookup->open > 0)
    return lookup;
  end(lookup);
  return NULL;
}

void pg_lookup_abandon(struct pg_lookup *lookup) {
  lookup->cb = NULL;
  for (int i = 0; i < lookup->count; i++) {
    /* The answer comes all the same; the last one frees the look-up. */
    if (lookup->questions[i].resolve)
      pg_resolve_cancel(lookup->questions[i].resolve);
  }
}
