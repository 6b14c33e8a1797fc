/*
 * target: where a channel's servers are, as the program wrote it.
 */
#pragma once

#include "auditstore/status.h"

#include <stdbool.h>
#include <stddef.h>

#define MAX_TARGETS 16

struct target {
  char *host;      /* a name or a numeric address without brackets; "localhost" for a path */
  char *port;      /* "" for a path */
  char *path;      /* of a Unix socket; NULL: none */
  char *authority; /* what HTTP/2 calls the server */
};

struct target_list {
  struct target entries[MAX_TARGETS]; /* own their texts */
  size_t count;
};

/* "host:port", "[ipv6]:port" or "unix:/path", several separated by commas. False: `status` says
 * what is wrong; the list is to be deinited all the same. */
bool target_list_parse(struct target_list *list, const char *text,
                       struct auditstore_status *status);
void target_list_deinit(struct target_list *list);
