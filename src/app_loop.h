/*
 * app_loop: the loop of a run of the program, from its beginning to its end.
 */
#pragma once

#include "base/loop.h"

/* On the machine's clock. */
void app_loop_open(struct loop *loop, uv_loop_t *uv);

/* Closes the loop when all that was on it is. A name that is still being looked up can't be
 * hurried: the process then ends with `exit_code` at the time `stop_at_us` (0: none was set), or in
 * a moment. */
void app_loop_close(struct loop *loop, int64_t stop_at_us, int exit_code);
