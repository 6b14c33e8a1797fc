/*
 * loop_fixture: a loop on the machine's clock that a test turns by hand until something holds.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <uv.h>

#include "base/loop.h"

/* A test that waits for longer has failed. */
#define LOOP_PATIENCE_US 30000000

struct loop_fixture {
  uv_loop_t uv;
  struct loop loop;
  int64_t give_up_us;
};

static inline void loop_fixture_init(struct loop_fixture *l) {
  assert_int_equal(uv_loop_init(&l->uv), 0);
  loop_init(&l->loop, &l->uv, &clock_system);
  l->give_up_us = clock_monotonic_us(&clock_system) + LOOP_PATIENCE_US;
}

/* One turn, and a millisecond for peers. */
static inline void loop_fixture_step(struct loop_fixture *l) {
  if (clock_monotonic_us(&clock_system) > l->give_up_us)
    fail_msg("what was waited for didn't happen");
  uv_run(&l->uv, UV_RUN_NOWAIT);
  (void)poll(NULL, 0, 1);
}

/* When all that is on it is closing. */
static inline void loop_fixture_deinit(struct loop_fixture *l) {
  loop_deinit(&l->loop);
  uv_run(&l->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&l->uv), 0);
}
