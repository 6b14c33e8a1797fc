#include "program.h"

#include "base/alloc.h"
#include "base/log.h"

#include <signal.h>
#include <stdlib.h>

#define KIB 1024LL
#define MIB (KIB * KIB)

#define DRAIN_US (5 * CLOCK_US_PER_S)

struct program {
  uv_loop_t uv;
  struct loop loop;
  struct config_server config;
  struct grpc_server *server;
  struct tls_context *tls;
  uv_signal_t sigterm;
  int port;
};

/* The daemon's own defaults, and gzip whenever a call accepts it. */
static const struct config_server defaults = {
    .listen = "127.0.0.1:0",
    .max_connections = 1000,
    .max_concurrent_streams = 2000,
    .max_message_bytes = 4 * MIB,
    .stream_window_bytes = MIB,
    .connection_window_bytes = 16 * MIB,
    .max_inbound_bytes = 1024 * MIB,
    .handshake_timeout_us = 10 * CLOCK_US_PER_S,
    .write_timeout_us = 60 * CLOCK_US_PER_S,
    .min_ping_interval_us = 5 * CLOCK_US_PER_S,
    .keepalive_time_us = CLOCK_NEVER,
    .max_connection_idle_us = CLOCK_NEVER,
    .max_connection_age_us = CLOCK_NEVER,
    .compress_answers_above = 1,
    .port_file = "",
};

static void release(struct program *program) {
  grpc_server_free(program->server);
  uv_close((uv_handle_t *)&program->sigterm, NULL);
}

static void on_drained(void *arg) {
  struct program *program = arg;
  release(program);
  uv_stop(&program->uv);
}

static void on_signal(uv_signal_t *signal, int number) {
  struct program *program = signal->data;
  (void)number;
  uv_signal_stop(signal);
  grpc_server_drain(program->server, clock_monotonic_us(&clock_system) + DRAIN_US, on_drained,
                    program);
}

static void prepare(struct program *program) {
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL);
  log_configure(LOG_DEBUG, LOG_TEXT);
  uv_loop_init(&program->uv);
  loop_init(&program->loop, &program->uv, &clock_system);
  uv_signal_init(&program->uv, &program->sigterm);
  program->sigterm.data = program;
  uv_signal_start(&program->sigterm, on_signal, SIGTERM);
}

static int end(struct program *program) {
  loop_deinit(&program->loop);
  uv_run(&program->uv, UV_RUN_DEFAULT);
  tls_context_free(program->tls);
  int rc = uv_loop_close(&program->uv);
  free(program);
  return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int program_new(struct program **ret_program, const struct program_options *options,
                void (*add)(struct grpc_server *server, struct loop *loop), struct error *err) {
  struct program *program = xcalloc(1, sizeof(*program));
  int rc = 0;
  program->config = defaults;
  if (options->max_message_bytes > 0)
    program->config.max_message_bytes = options->max_message_bytes;
  prepare(program);
  if (options->tls)
    rc = tls_context_new(&program->tls, options->tls, err);
  program->server = grpc_server_new(&program->loop, &program->config);
  add(program->server, &program->loop);
  grpc_server_open(program->server);
  if (rc >= 0)
    rc = grpc_server_listen(program->server, program->tls, &program->port, err);
  if (rc < 0) {
    release(program);
    (void)end(program);
    return rc;
  }
  *ret_program = program;
  return 0;
}

int program_port(const struct program *program) {
  return program->port;
}

int program_run(struct program *program) {
  uv_run(&program->uv, UV_RUN_DEFAULT);
  return end(program);
}
