/*
 * ask: a single statement on a connection of its own, for what is asked now and then.
 */
#pragma once

#include "pg/pool.h"

/* Static storage; each is called with pg_ask()'s `arg`. */
struct pg_question {
  /* Queues the statement with pg_send(). A negative code: it can't be sent, and *err says why. */
  int (*send)(void *arg, struct pg_lease *conn, struct error *err);
  /* Takes the result, which isn't to be relied on before done(). A negative code: it isn't what was
   * asked for. */
  int (*read)(void *arg, const PGresult *result, struct error *err);
  /* The last call, when the connection is given back. `err` NULL: the result was taken. */
  void (*done)(void *arg, const struct error *err);
};

/* Waits for a connection (`holder`: see pg_acquire()), and for the answer, until the deadline.
 * done() runs exactly once, never inside this call. */
void pg_ask(struct pg_pool *pool, int64_t deadline_us, const char *holder,
            const struct pg_question *question, void *arg);
