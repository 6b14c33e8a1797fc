/*
 * hello: a ClientHello is looked at in the socket before OpenSSL reads it, which makes room for as
 * much as it declares, up to 128 KiB, and takes the square of its length in time. Private to this
 * folder.
 */
#pragma once

#include <stdbool.h>

typedef struct ssl_st SSL;

/* Zeroed before first use; lives as long as the SSL reads. */
struct hello_watch {
  bool is_second;    /* asked for by the answer to the first */
  const char *fault; /* static: why it is refused; NULL: it isn't */
  int low_water;     /* bytes that the socket waits for until it is readable; 0: any */
};

/* What `ssl` reads next, from a socket of its own, is a ClientHello. OpenSSL then waits until
 * enough of it is there to be looked at, or fails with watch->fault set. */
void hello_expect(struct hello_watch *watch, SSL *ssl);

/* Before the socket is closed: the few bytes that were only looked at would make it a reset. */
void hello_end(const struct hello_watch *watch, int fd);
