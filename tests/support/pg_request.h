/*
 * pg_request: a request for a connection that remembers what became of it.
 */
#pragma once

#include "support/pg_world.h"

struct pg_request {
  struct pg_waiter *waiter;
  struct pg_lease *conn; /* the lease, or NULL and err is set */
  struct error err;
  int64_t answered_us;
  int place;     /* 1 for the first answered */
  int answers;   /* how often it was: 0 or 1, if the pool is right */
  int *answered; /* shared by the requests of one test */
};

/* Checks as well that the pool does not answer inside the call. */
void pg_request_ask(struct pg_world *world, struct pg_request *request, int *answered,
                    int64_t deadline_us);
void pg_request_wait(struct pg_world *world, struct pg_request *request);
