/*
 * info: the answer of GetServerInfo, from the settings and one snapshot of the pool.
 */
#pragma once

#include "auditstore/v1/admin.pb-c.h"
#include "base/arena.h"
#include "config/config.h"
#include "pg/stats.h"

struct admin_info_input {
  const char *version;
  int64_t started_us; /* wall clock */
  const struct config *config;
  const struct pg_pool_stats *stats;
};

/* The limit of an arena in which any answer fits. */
size_t admin_info_arena_bytes(void);

/* Fills *ret_response, whose parts lie in the arena, with copies of the texts that a reload may
 * change. Texts are UTF-8, also where a file's name isn't. */
void admin_info_fill(const struct admin_info_input *input, struct arena *arena,
                     Auditstore__V1__GetServerInfoResponse *ret_response);
