/*
 * interop_server: grpc.testing.TestService for the clients of other projects.
 *
 *   interop_server PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]
 *
 * Listens on a free port of 127.0.0.1, writes it to PORT_FILE, and serves until SIGTERM.
 */
#include "base/port_file.h"
#include "program.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>

static int start(struct program **ret_program, int argc, char **argv, struct error *err) {
  const struct tls_options tls = {
      .cert_file = argc > 3 ? argv[2] : "",
      .key_file = argc > 3 ? argv[3] : "",
      .client_ca_file = argc > 4 ? argv[4] : "",
      .clients = argc > 4 ? TLS_CLIENTS_REQUIRED : TLS_CLIENTS_ANONYMOUS,
      .max_handshakes = 100,
  };
  const struct program_options options = {.tls = argc > 3 ? &tls : NULL};
  int rc = program_new(ret_program, &options, interop_service_add, err);
  return rc < 0 ? rc : port_file_write(argv[1], program_port(*ret_program), err);
}

int main(int argc, char **argv) {
  struct program *program = NULL;
  struct error err = {0};
  if (argc < 2 || argc == 3 || argc > 5) {
    fputs("usage: interop_server PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]\n", stderr);
    return 2;
  }
  if (start(&program, argc, argv, &err) < 0) {
    fprintf(stderr, "interop_server: %s\n", err.text);
    return EXIT_FAILURE;
  }
  return program_run(program);
}
