#include "support/pg_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct pg_request *request = arg;
  request->answers++;
  request->conn = conn;
  request->place = ++*request->answered;
  request->answered_us = clock_monotonic_us(&clock_system);
  assert_true((conn == NULL) == (err != NULL));
  if (err)
    request->err = *err;
}

void pg_request_ask(struct pg_world *world, struct pg_request *request, int *answered,
                    int64_t deadline_us) {
  *request = (struct pg_request){.answered = answered};
  request->waiter = pg_acquire(world->pool, deadline_us, "test", on_acquired, request);
  assert_int_equal(request->answers, 0);
}

static bool is_answered(void *arg) {
  return ((struct pg_request *)arg)->answers > 0;
}

void pg_request_wait(struct pg_world *world, struct pg_request *request) {
  pg_world_wait(world, is_answered, request);
  assert_int_equal(request->answers, 1);
}
