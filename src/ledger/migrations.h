/*
 * migrations: the numbered SQL files of ledger/migrations, compiled in by cmake/EmbedSql.cmake.
 *
 * A file that was released is never changed: databases remember its SHA-256.
 */
#pragma once

#include <stddef.h>

struct migration {
  int version; /* 1, 2, … without gaps */
  const char *name;
  const char *sql; /* statements without BEGIN and COMMIT; NUL-terminated */
  size_t sql_len;
};

extern const struct migration migrations[];
extern const int migration_count;
