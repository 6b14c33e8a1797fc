/*
 * interop_server: grpc.testing.TestService for the clients of other projects.
 *
 *   interop_server PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]
 *
 * Listens on a free port of 127.0.0.1, writes it to PORT_FILE, and serves until SIGTERM.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "base/port_file.h"
#include "net/tls.h"
#include "service.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define KIB 1024LL
#define MIB (KIB * KIB)

#define DRAIN_US (5 * CLOCK_US_PER_S)

struct program {
  uv_loop_t uv;
  struct loop loop;
  struct grpc_server *server;
  struct tls_context *tls;
  uv_signal_t sigterm;
};

/* The daemon's own defaults, and gzip whenever a call asks for it. */
static const struct config_server config = {
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

static void on_drained(void *arg) {
  struct program *program = arg;
  grpc_server_free(program->server);
  uv_close((uv_handle_t *)&program->sigterm, NULL);
  uv_stop(&program->uv);
}

static void on_signal(uv_signal_t *signal, int number) {
  struct program *program = signal->data;
  (void)number;
  uv_signal_stop(signal);
  grpc_server_drain(program->server, clock_monotonic_us(&clock_system) + DRAIN_US, on_drained,
                    program);
}

static int load_tls(struct program *program, int argc, char **argv, struct error *err) {
  if (argc < 4)
    return 0;
  const struct tls_options options = {
      .cert_file = argv[2],
      .key_file = argv[3],
      .client_ca_file = argc > 4 ? argv[4] : "",
      .clients = argc > 4 ? TLS_CLIENTS_REQUIRED : TLS_CLIENTS_ANONYMOUS,
      .max_handshakes = 100,
  };
  return tls_context_new(&program->tls, &options, err);
}

static int start(struct program *program, int argc, char **argv, struct error *err) {
  int port = 0;
  int rc = load_tls(program, argc, argv, err);
  if (rc < 0)
    return rc;
  program->server = grpc_server_new(&program->loop, &config);
  interop_service_add(program->server, &program->loop);
  grpc_server_open(program->server);
  rc = grpc_server_listen(program->server, program->tls, &port, err);
  return rc < 0 ? rc : port_file_write(argv[1], port, err);
}

int main(int argc, char **argv) {
  struct program program = {0};
  struct error err = {0};
  if (argc < 2 || argc == 3 || argc > 5) {
    fputs("usage: interop_server PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  log_configure(LOG_DEBUG, LOG_TEXT, STDERR_FILENO);
  uv_loop_init(&program.uv);
  loop_init(&program.loop, &program.uv, &clock_system);
  uv_signal_init(&program.uv, &program.sigterm);
  program.sigterm.data = &program;
  uv_signal_start(&program.sigterm, on_signal, SIGTERM);
  if (start(&program, argc, argv, &err) < 0) {
    fprintf(stderr, "interop_server: %s\n", err.text);
    return EXIT_FAILURE;
  }
  uv_run(&program.uv, UV_RUN_DEFAULT);
  loop_deinit(&program.loop);
  uv_run(&program.uv, UV_RUN_DEFAULT);
  tls_context_free(program.tls);
  return uv_loop_close(&program.uv) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
