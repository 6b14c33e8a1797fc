/*
 * tls: the client's side of TLS on one connection. No I/O: what came is fed, what is to be sent
 * lands in a buf; so nothing here waits, and no signal comes of it.
 *
 * Words: feed = bytes from the socket; wire = bytes for the socket.
 *
 * TLS 1.2 or later; of 1.2 only suites with forward secrecy and authenticated encryption (RFC 9113,
 * 9.2.2). The server's certificate is always checked, its name too, and it has to choose "h2" by
 * ALPN. Nothing is left in OpenSSL's queue of errors.
 */
#pragma once

#include "auditstore/channel.h"
#include "base/buf.h"
#include "reason.h"

struct tls_files {
  char *ca_file, *cert_file, *key_file, *server_name; /* each may be NULL */
};

/* Copies. NULL: `status` says why. */
struct tls_files *tls_files_new(const struct auditstore_tls_options *options,
                                struct auditstore_status *status);
void tls_files_free(struct tls_files *files); /* NULL is fine */

struct tls;

/* Reads the files. `host` is the name or address dialled. `wire` is borrowed. NULL: *reason. */
struct tls *tls_new(const struct tls_files *files, const char *host, struct buf *wire,
                    struct reason *reason);
void tls_free(struct tls *t); /* NULL is fine */

/* Bytes from the socket; borrowed until tls_shake() and tls_read() have asked for more. */
void tls_feed(struct tls *t, const uint8_t *data, size_t len);

enum tls_result {
  TLS_DONE,
  TLS_MORE, /* has to be fed first */
  TLS_END,  /* the server has said that it sends no more */
  TLS_FAILED
};

/* Goes on with the handshake; begins it, too. */
enum tls_result tls_shake(struct tls *t, struct reason *reason);

/* TLS_DONE: *ret_len bytes of *ret_data, borrowed until the next call. */
enum tls_result tls_read(struct tls *t, const uint8_t **ret_data, size_t *ret_len,
                         struct reason *reason);

/* Encrypts all of `plain` and empties it. False: out of memory. */
bool tls_write(struct tls *t, struct buf *plain);

/* Says that nothing more will be sent. */
void tls_close(struct tls *t);
