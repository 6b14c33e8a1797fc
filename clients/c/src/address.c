#include "address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static void add_path(struct address_list *list, const struct target *t) {
  struct address *a = &list->entries[list->count++];
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  memcpy(name.sun_path, t->path, strlen(t->path) + 1);
  memcpy(&a->storage, &name, sizeof(name));
  a->len = sizeof(name);
  a->target = t;
  snprintf(a->text, sizeof(a->text), "unix:%s", t->path);
}

static void add_info(struct address_list *list, const struct target *t,
                     const struct addrinfo *info) {
  struct address *a = &list->entries[list->count++];
  char numeric[INET6_ADDRSTRLEN + 20] = "";
  memcpy(&a->storage, info->ai_addr, info->ai_addrlen);
  a->len = info->ai_addrlen;
  a->target = t;
  getnameinfo(info->ai_addr, info->ai_addrlen, numeric, sizeof(numeric), NULL, 0, NI_NUMERICHOST);
  if (strcmp(numeric, t->host) == 0)
    snprintf(a->text, sizeof(a->text), "%s", t->authority);
  else
    snprintf(a->text, sizeof(a->text), "%s (%s)", t->authority, numeric);
}

static void add_host(struct address_list *list, const struct target *t, struct reason *report) {
  const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *infos = NULL;
  int rc = getaddrinfo(t->host, t->port, &hints, &infos);
  if (rc != 0) {
    reason_add(report, "can't resolve %s: %s", t->host, gai_strerror(rc));
    return;
  }
  for (const struct addrinfo *i = infos; i && list->count < MAX_ADDRESSES; i = i->ai_next)
    add_info(list, t, i);
  freeaddrinfo(infos);
}

void address_list_resolve(struct address_list *list, const struct target_list *targets,
                          struct reason *report) {
  *list = (struct address_list){.entries = calloc(MAX_ADDRESSES, sizeof(*list->entries))};
  if (!list->entries) {
    reason_add(report, "out of memory");
    return;
  }
  for (size_t i = 0; i < targets->count && list->count < MAX_ADDRESSES; i++) {
    const struct target *t = &targets->entries[i];
    if (t->path)
      add_path(list, t);
    else
      add_host(list, t, report);
  }
}

void address_list_deinit(struct address_list *list) {
  free(list->entries);
  *list = (struct address_list){0};
}

/* ---- of this machine ---- */

static bool is_loopback4(const struct in_addr *in) {
  return ntohl(in->s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool is_loopback6(const struct in6_addr *in6) {
  if (!IN6_IS_ADDR_V4MAPPED(in6))
    return IN6_IS_ADDR_LOOPBACK(in6);
  struct in_addr in;
  memcpy(&in, &in6->s6_addr[12], sizeof(in));
  return is_loopback4(&in);
}

bool address_is_of_this_machine(const struct address *a) {
  const void *name = &a->storage;
  switch (a->storage.ss_family) {
  case AF_UNIX:
    return true;
  case AF_INET:
    return is_loopback4(&((const struct sockaddr_in *)name)->sin_addr);
  case AF_INET6:
    return is_loopback6(&((const struct sockaddr_in6 *)name)->sin6_addr);
  default:
    return false;
  }
}

bool target_is_elsewhere(const struct target *t) {
  struct in_addr in;
  struct in6_addr in6;
  if (t->path)
    return false;
  if (inet_pton(AF_INET, t->host, &in) == 1)
    return !is_loopback4(&in);
  return inet_pton(AF_INET6, t->host, &in6) == 1 && !is_loopback6(&in6);
}
