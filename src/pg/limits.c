#include <stdlib.h>

#include "base/alloc.h"
#include "pg/ask.h"
#include "pg/binary.h"
#include "pg/internal.h"

/* A role that isn't a superuser gets what is not reserved, and no more than its own and the
 * database's limit; -1 is no limit. */
static const struct pg_statement limits_statement = {
    .sql =
        "SELECT least(m.max_connections"
        "             - CASE WHEN r.rolsuper THEN 0 ELSE m.reserved END,"
        "             CASE WHEN r.rolsuper OR r.rolconnlimit < 0 THEN m.max_connections"
        "                  ELSE r.rolconnlimit END,"
        "             CASE WHEN r.rolsuper OR d.datconnlimit < 0 THEN m.max_connections"
        "                  ELSE d.datconnlimit END)::int8,"
        "       m.max_connections::int8, current_setting('server_version_num')::int8"
        " FROM (SELECT current_setting('max_connections')::int AS max_connections,"
        "              current_setting('superuser_reserved_connections')::int"
        "              + coalesce(current_setting('reserved_connections', true)::int, 0)"
        "              AS reserved) m,"
        "      pg_roles r, pg_database d"
        " WHERE r.rolname = current_user AND d.datname = current_database()",
};

struct limits_read {
  struct pg_pool *pool;
  struct pg_server_limits limits;
  pg_limits_cb *cb;
  void *arg;
};

static int send_question(void *arg, struct pg_lease *conn, struct error *err) {
  (void)arg;
  (void)err;
  pg_send(conn, &limits_statement, NULL);
  return 0;
}

static int read_int(const PGresult *result, int column) {
  int64_t value = 0;
  if (!pg_get_int8(pg_field(result, 0, column), &value))
    return 0;
  return (int)value;
}

static int read_limits(void *arg, const PGresult *result, struct error *err) {
  struct limits_read *read = arg;
  (void)err;
  if (PQntuples(result) != 1)
    return 0;
  read->limits.usable = read_int(result, 0);
  read->limits.max_connections = read_int(result, 1);
  read->limits.version = read_int(result, 2);
  return 0;
}

static void end(void *arg, const struct error *err) {
  struct limits_read *read = arg;
  struct error untold;
  if (!err && read->limits.max_connections == 0) {
    error_set(&untold, ERR_INTERNAL, "the server doesn't tell its connection limits");
    err = &untold;
  }
  if (!err)
    read->pool->counters.server = read->limits;
  read->cb(read->arg, err ? NULL : &read->limits, err);
  free(read);
}

void pg_limits_read(struct pg_pool *pool, int64_t deadline_us, pg_limits_cb *cb, void *arg) {
  static const struct pg_question question = {
      .send = send_question, .read = read_limits, .done = end};
  struct limits_read *read = xcalloc(1, sizeof(*read));
  read->pool = pool;
  read->cb = cb;
  read->arg = arg;
  pg_ask(pool, deadline_us, "limits", &question, read);
}
