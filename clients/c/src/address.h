/*
 * address: what targets resolve to.
 */
#pragma once

#include "reason.h"
#include "target.h"

#include <sys/socket.h>

/* More than that of one round are left out. */
#define MAX_ADDRESSES      32
#define ADDRESS_TEXT_BYTES 384

struct address {
  struct sockaddr_storage storage;
  socklen_t len;
  const struct target *target;   /* borrowed */
  char text[ADDRESS_TEXT_BYTES]; /* "db.example.com:7443 (192.0.2.1)" */
};

struct address_list {
  struct address *entries; /* owned */
  size_t count;
};

/* Resolves all, in their order; blocks as long as the system's resolver does. Names that don't
 * resolve are added to the report. A list without entries: all failed, or out of memory. */
void address_list_resolve(struct address_list *list, const struct target_list *targets,
                          struct reason *report);
void address_list_deinit(struct address_list *list);

/* Loopback, or a Unix socket. */
bool address_is_of_this_machine(const struct address *a);

/* A target that is a numeric address of another machine; no name is resolved. */
bool target_is_elsewhere(const struct target *t);
