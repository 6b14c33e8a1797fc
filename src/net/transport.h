/*
 * transport: the bytes of a socket, as they are or through TLS. Private to this folder.
 *
 * Reading, writing and shaking hands may each have to wait for the socket to become readable or
 * writable, whatever their own direction is: *_waits_for says for which (UV_READABLE or
 * UV_WRITABLE) after a call that returned TRANSPORT_WAIT.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/must_check.h"
#include "net/hello.h"
#include "net/peer_names.h"
#include "net/tls.h"

/* What was asked for, which what is there doesn't change: without its SSL, TLS only fails. */
enum transport_kind {
  TRANSPORT_PLAIN,
  TRANSPORT_TLS,
  TRANSPORT_ENDED, /* the peer was told that no more comes: only its end is waited for */
};

struct transport {
  enum transport_kind kind;
  int fd;   /* owned; -1 once closed */
  SSL *ssl; /* owned; of TLS only */
  struct tls_refusal refusal;
  struct hello_watch hello;
  uint64_t received;    /* bytes, by TLS */
  uint64_t key_updates; /* of the peer's */
  bool is_renegotiated; /* by the peer, who began another handshake */
  int read_waits_for;
  int write_waits_for;
};

enum { TRANSPORT_END = 0, TRANSPORT_WAIT = -1, TRANSPORT_FAILED = -2 };

/* Takes over `fd`. `context` NULL: plain. False, with nothing taken: out of memory. */
MUST_CHECK bool transport_init(struct transport *t, int fd, struct tls_context *context);

/* 0 when it is done; TRANSPORT_WAIT; TRANSPORT_FAILED with a static text. */
MUST_CHECK int transport_handshake(struct transport *t, const char **ret_reason);

/* Bytes moved, or one of the above. FAILED leaves a text in *ret_reason. */
MUST_CHECK ssize_t transport_read(struct transport *t, uint8_t *data, size_t size,
                                  const char **ret_reason);
MUST_CHECK ssize_t transport_write(struct transport *t, const uint8_t *data, size_t len);

/* Bytes are waiting here that the socket won't report. */
bool transport_has_pending(const struct transport *t);

/* Tells the peer that no more comes. What comes from it afterwards is read from the socket, and is
 * good for nothing but its end. False: the connection is gone. */
MUST_CHECK bool transport_end(struct transport *t);

void transport_close(struct transport *t);

/* Why the peer's certificate was refused, and its subject; "" and "" when it wasn't. */
const char *transport_refusal(const struct transport *t);
const char *transport_refused_subject(const struct transport *t);

/* "TLSv1.3", and the subject of the peer's certificate or ""; "" and "" when plain. */
const char *transport_version(const struct transport *t);
void transport_peer_subject(const struct transport *t, char *ret_text, size_t size);

/* Of the peer's verified certificate, for the caller to free; NULL: it showed none. */
struct peer_names *transport_peer_names(const struct transport *t);
