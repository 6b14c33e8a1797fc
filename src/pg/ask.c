#include "pg/ask.h"

#include <stdlib.h>

#include "base/alloc.h"

struct asking {
  const struct pg_question *question; /* borrowed */
  void *arg;
  int64_t deadline_us;
  struct pg_lease *conn; /* NULL before it is granted */
  struct error err;      /* what send() or read() said */
};

static void finish(struct asking *a, const struct error *err) {
  if (a->conn)
    pg_release(a->conn);
  a->question->done(a->arg, err);
  free(a);
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct asking *a = arg;
  (void)statement;
  a->question->read(a->arg, result, &a->err);
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct asking *a = arg;
  if (outcome->kind != PG_OK)
    finish(a, &outcome->err);
  else
    finish(a, a->err.code == ERR_OK ? NULL : &a->err);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  struct asking *a = arg;
  a->conn = conn;
  if (!conn)
    finish(a, err);
  else if (a->question->send(a->arg, conn, &a->err) < 0)
    finish(a, &a->err);
  else
    pg_run(conn, a->deadline_us, &cb, a);
}

void pg_ask(struct pg_pool *pool, int64_t deadline_us, const char *holder,
            const struct pg_question *question, void *arg) {
  struct asking *a = xcalloc(1, sizeof(*a));
  a->question = question;
  a->arg = arg;
  a->deadline_us = deadline_us;
  pg_acquire(pool, deadline_us, holder, on_acquired, a);
}
