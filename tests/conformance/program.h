/*
 * program: a server of tests, from its start until SIGTERM.
 */
#pragma once

#include "base/loop.h"
#include "grpc/server.h"
#include "net/tls.h"

struct program;

struct program_options {
  const struct tls_options *tls; /* NULL: none; need not outlive program_new() */
  int64_t max_message_bytes;     /* 0: as the daemon's default */
};

/* Listens on a free port of 127.0.0.1 with what `add` gives the server. Answers are compressed
 * whenever a call accepts that. */
int program_new(struct program **ret_program, const struct program_options *options,
                void (*add)(struct grpc_server *server, struct loop *loop), struct error *err);
int program_port(const struct program *program);

/* Serves until SIGTERM, drains and frees the program. What to exit with. */
int program_run(struct program *program);
