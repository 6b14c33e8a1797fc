/*
 * acceptor: a listening TCP socket on the loop, which hands on each connection it accepts.
 *
 * Out of descriptors, it pauses for a moment instead of spinning, counts that, and logs it now and
 * then. Loop thread only.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/must_check.h"

struct acceptor;

union acceptor_address {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_storage storage;
};

/* Takes over `fd`, a connected non-blocking socket. May close the acceptor. */
typedef void acceptor_cb(void *arg, int fd, const union acceptor_address *peer);

struct acceptor_options {
  const char *address; /* "host:port" or "[IPv6]:port"; port 0 picks a free one */
  acceptor_cb *on_accept;
  void *arg;
};

/* Resolves a numeric address or a host name of this machine, binds the first that it can and
 * listens. ERR_INVALID_ARGUMENT: not host:port. ERR_UNAVAILABLE: can't be bound, with errno's text.
 */
MUST_CHECK int acceptor_new(struct acceptor **ret_acceptor, struct loop *loop,
                            const struct acceptor_options *options, struct error *err);

/* The port bound. */
int acceptor_port(const struct acceptor *acceptor);

/* How often a connection had to wait because the system had no descriptor or memory for it. */
int64_t acceptor_exhausted(const struct acceptor *acceptor);

/* The socket is closed at once; `closed` (may be NULL) runs when the memory is gone. */
void acceptor_close(struct acceptor *acceptor, loop_task_cb *closed, void *arg);
