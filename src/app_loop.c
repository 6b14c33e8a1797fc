#include "app_loop.h"

#include <assert.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_sample.h"
#include "base/log_writer.h"
#include "base/reserve.h"
#include "signals.h"

/* For libuv to give back its handles, which takes no waiting. */
#define CLOSE_MIN_US (100 * 1000)

void app_loop_open(struct loop *loop, uv_loop_t *uv) {
  int rc = uv_loop_init(uv);
  assert(rc == 0);
  (void)rc;
  signals_keep_from_threads(uv);
  loop_init(loop, uv, &clock_system);
  (void)reserve_keep(); /* without it memory is out already, and the start will say so */
  loop->sampler = log_sampler_new(loop);
}

/* All is flushed and closed. */
static void on_close_deadline(uv_timer_t *timer) {
  const int *exit_code = timer->data;
  log_warn("stopped while a name was being looked up");
  log_writer_flush();
  _exit(*exit_code);
}

void app_loop_close(struct loop *loop, int64_t stop_at_us, int exit_code) {
  uv_loop_t *uv = loop->uv;
  uv_timer_t deadline;
  int64_t left_us = stop_at_us ? stop_at_us - clock_monotonic_us(loop->clock) : 0;
  uv_timer_init(uv, &deadline);
  deadline.data = &exit_code;
  uv_timer_start(&deadline, on_close_deadline,
                 (uint64_t)((left_us > CLOSE_MIN_US ? left_us : CLOSE_MIN_US) / CLOCK_US_PER_MS),
                 0);
  uv_unref((uv_handle_t *)&deadline);
  log_sampler_close(loop->sampler);
  loop_deinit(loop);
  uv_run(uv, UV_RUN_DEFAULT);
  uv_close((uv_handle_t *)&deadline, NULL);
  uv_run(uv, UV_RUN_DEFAULT);
  int rc = uv_loop_close(uv);
  assert(rc == 0);
  (void)rc;
}
