/*
 * principals: what is remembered of those who call: their roles and what is left of their quotas.
 *
 * At most PRINCIPALS_MAX are remembered; who hasn't called for the longest time is forgotten first,
 * which gives him nothing but full quotas. One that is in use stays valid until it is released.
 */
#pragma once

#include "access/quota.h"
#include "base/list.h"
#include "base/str.h"

#define PRINCIPALS_MAX 4096

enum quota_kind { QUOTA_CALLS, QUOTA_EVENTS, QUOTA_BYTES, QUOTA_COUNT };

struct principal {
  struct list_link chain_link;
  struct list_link age_link;
  int references;
  unsigned generation; /* that the roles are of; 0: of none */
  unsigned roles;
  struct quota quotas[QUOTA_COUNT];
  size_t len;
  char text[];
};

struct principals;

struct principals *principals_new(void);
void principals_free(struct principals *principals); /* those in use stay until released */
size_t principals_count(const struct principals *principals);

/* The caller releases it. */
struct principal *principals_get(struct principals *principals, struct str text);
void principal_release(struct principal *principal);
