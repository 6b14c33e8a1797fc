/*
 * tls: what the server side of TLS needs: certificate, key, who may sign clients' certificates.
 *
 * Words: context = all of it, as read from files; it may be read again at any time, and connections
 * that are accepted from then on use the new one. Threads: loop thread only. Reading files blocks
 * for a moment.
 *
 * TLS 1.2 or later; of 1.2 only suites with forward secrecy and authenticated encryption (RFC 9113,
 * 9.2.2); no renegotiation, no compression; keys are agreed on by elliptic curves. Sessions are
 * resumed by tickets alone. The peer has to name "h2" by ALPN (RFC 9113, 3.2).
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/list.h"
#include "base/must_check.h"

struct tls_context;
typedef struct ssl_st SSL;

enum tls_clients {
  TLS_CLIENTS_ANONYMOUS, /* no certificate is asked for */
  TLS_CLIENTS_OPTIONAL,  /* one that is shown has to be good */
  TLS_CLIENTS_REQUIRED,
};

struct tls_options {
  const char *cert_file;      /* PEM; the server's certificate, then those up to the root */
  const char *key_file;       /* PEM, without a passphrase */
  const char *client_ca_file; /* PEM; signers of clients' certificates; "" when none is asked for */
  enum tls_clients clients;
  int max_handshakes;  /* under way at once; further connections wait for their turn */
  bool is_key_private; /* refuse a key file that everybody may read or change, rather than warn */
};

/* ERR_FAILED_PRECONDITION: a file can't be read or doesn't fit the others; the text names it. */
MUST_CHECK int tls_context_new(struct tls_context **ret_context, const struct tls_options *options,
                               struct error *err);

/* Reads the files again, by the same options but for the paths' new texts. On failure nothing
 * changes. */
MUST_CHECK int tls_context_reload(struct tls_context *context, const struct tls_options *options,
                                  struct error *err);

/* When no connection uses it any more. NULL is fine. */
void tls_context_free(struct tls_context *context);

/* Of a certificate that the peer showed. */
struct tls_refusal {
  const char *cause; /* static; NULL: none was refused */
  char *subject;     /* owned, for free(); NULL: none */
};

/* A connection's side of it: for transport.c. What is refused is written to *refusal, which has to
 * live as long. NULL: out of memory. */
MUST_CHECK SSL *tls_context_accept(struct tls_context *context, int fd,
                                   struct tls_refusal *refusal);

/* ---- turns: connections that are about to shake hands ---- */

/* Embedded in a connection; zeroed before first use. */
struct tls_turn {
  struct list_link link;
  enum tls_turn_state { TLS_TURN_NONE, TLS_TURN_WAITING, TLS_TURN_HERE } state;
  /* It is here; runs inside of another's tls_turn_end() or tls_turn_yield(). */
  void (*begin)(struct tls_turn *turn);
};

/* True: the turn is here at once. False: begin() tells. */
bool tls_turn_take(struct tls_context *context, struct tls_turn *turn);

/* The peer lets us wait: whose turn is next has it now, and this one's comes again behind the
 * others'. False, and nothing changes: nobody waits. */
bool tls_turn_yield(struct tls_context *context, struct tls_turn *turn);

/* The handshake is over, or isn't wanted any more. Fine without a turn. */
void tls_turn_end(struct tls_context *context, struct tls_turn *turn);
