#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "pg/internal.h"

static int find(const struct prepared *prepared, const char *name) {
  for (int i = 0; i < prepared->count; i++) {
    if (prepared->names[i] == name || strcmp(prepared->names[i], name) == 0)
      return i;
  }
  return -1;
}

bool pg_prepared_find(const struct prepared *prepared, const struct pg_statement *sql,
                      char ret_name[PG_NAME_SIZE]) {
  int len = prepared->epoch == 0
                ? snprintf(ret_name, PG_NAME_SIZE, "%s", sql->name)
                : snprintf(ret_name, PG_NAME_SIZE, "%s.%d", sql->name, prepared->epoch);
  assert(len > 0 && len < PG_NAME_SIZE);
  (void)len;
  return find(prepared, sql->name) >= 0;
}

bool pg_prepared_add(struct prepared *prepared, const struct pg_statement *sql) {
  if (prepared->count == PG_PREPARED_MAX)
    return false;
  prepared->names[prepared->count++] = sql->name;
  return true;
}

void pg_prepared_remove(struct prepared *prepared, const struct pg_statement *sql) {
  int at = find(prepared, sql->name);
  if (at >= 0)
    prepared->names[at] = prepared->names[--prepared->count];
}

void pg_prepared_forget(struct prepared *prepared) {
  prepared->count = 0;
  prepared->epoch++;
}
