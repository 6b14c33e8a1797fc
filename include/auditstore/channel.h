/*
 * channel: connections to auditstore daemons, made when first needed and again when lost.
 *
 * A channel may be used from several threads; whichever thread waits for an answer does the I/O for
 * all, so nothing happens between calls, unless a loop of the program's own serves the channel: see
 * auditstore_channel_fd(). Free it when no call is open.
 *
 * State. IDLE ──a call, or auditstore_channel_wait()──▶ CONNECTING ──▶ READY; a failed attempt at
 * all addresses is TRANSIENT_FAILURE until the backoff is over, then CONNECTING again when somebody
 * wants it. A READY channel whose connection ends is IDLE. In TRANSIENT_FAILURE calls fail at once
 * with UNAVAILABLE and the reason, unless they set wait_for_ready.
 *
 * When the server announces that it closes a connection (GOAWAY), open calls end on it and new ones
 * go to a new connection. A call that the server can't have processed (above the GOAWAY's last
 * stream, REFUSED_STREAM, or never sent) is made again by itself. What else is made again tells the
 * retry policy.
 *
 * Deadlines hold for all of it but the resolution of a host's name, which takes as long as the
 * system's resolver does; numeric addresses need none.
 */
#ifndef AUDITSTORE_CHANNEL_H
#define AUDITSTORE_CHANNEL_H

#include "auditstore/export.h"
#include "auditstore/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct auditstore_channel;

/* TLS 1.2 or later, ALPN "h2", the server's certificate always checked. The files are PEM; they are
 * read for each new connection, so that renewed ones are used without a restart. */
struct auditstore_tls_options {
  const char *ca_file;   /* who signs servers' certificates; NULL: whom the system trusts */
  const char *cert_file; /* our certificate and those up to its root; NULL: none is shown */
  const char *key_file;  /* its key, without a passphrase; NULL exactly when cert_file is */
  /* A name, or an address, that the server's certificate must hold; NULL: the host dialled, which
   * is "localhost" for a Unix socket. */
  const char *server_name;
};

/* Pauses between failed rounds of attempts; 0 takes the default, which all gRPC clients share. */
struct auditstore_backoff_options {
  int initial_ms;        /* 1000 */
  int max_ms;            /* 120000 */
  double multiplier;     /* 1.6 */
  double jitter_percent; /* 20: each pause is that much shorter or longer at random */
};

/* When a call that failed is made again (gRFC A6). Unary calls only, and only before the response
 * headers. Fit for calls that may be repeated: reads, and writes whose events carry ids. */
struct auditstore_retry_policy {
  int max_attempts;       /* with the first one: 1 (no retries) to 5; 0: 3 */
  int initial_backoff_ms; /* 0: 100; each pause is this times 2^n, plus or minus 20 % */
  int max_backoff_ms;     /* 0: 1000 */
  bool retries_exhausted; /* RESOURCE_EXHAUSTED too, when the server says when (RetryInfo or
                             grpc-retry-pushback-ms); UNAVAILABLE always is retried */
};

enum auditstore_channel_state {
  AUDITSTORE_CHANNEL_IDLE = 0,
  AUDITSTORE_CHANNEL_CONNECTING = 1,
  AUDITSTORE_CHANNEL_READY = 2,
  AUDITSTORE_CHANNEL_TRANSIENT_FAILURE = 3,
  AUDITSTORE_CHANNEL_SHUTDOWN = 4 /* auditstore_channel_shutdown() was called */
};

/* Runs after a change, on the thread that made it, without any lock held; may be late, and may skip
 * states that didn't last. It may make no call on the channel that waits. */
typedef void auditstore_state_cb(void *arg, enum auditstore_channel_state state);

/* Zeroed is fine: each field then has its default. Texts are copied. */
struct auditstore_channel_options {
  /* For a round of attempts at all addresses, each of which has a fair part of it, from dialling to
   * the server's first word; 0: 20000. */
  int connect_timeout_ms;
  int default_timeout_ms;   /* deadline of calls that set none; 0: 30000 */
  size_t max_message_bytes; /* of one message received; 0: 4 MiB */
  const char *user_agent;   /* put in front of the library's own; NULL: none. Printable ASCII */

  const struct auditstore_tls_options *tls; /* NULL: without TLS */
  /* File of a bearer token, sent with each call; read again when it changes. Refused without TLS
   * unless every address is of this machine. NULL: none. */
  const char *token_file;
  /* Sent with each call, in front of the call's own. */
  const struct auditstore_metadata *metadata;
  size_t metadata_count;

  /* A connection with open calls that is silent for so long is pinged; 0: never; less than 10000
   * counts as that. Without an answer within keepalive_timeout_ms (0: 20000) it is given up. */
  int keepalive_time_ms;
  int keepalive_timeout_ms;

  struct auditstore_backoff_options backoff;
  struct auditstore_retry_policy retry; /* for calls that name none */

  auditstore_state_cb *on_state; /* NULL: none */
  void *on_state_arg;
};

/* `target`: one or several of "host:port", "[ipv6]:port", "unix:/path", separated by commas; tried
 * in this order, each host at all its addresses, until one answers. `options` NULL: the defaults.
 * Connects on first use. NULL: `status` (which may be NULL) says what is wrong with which
 * argument, as INVALID_ARGUMENT, or RESOURCE_EXHAUSTED. */
AUDITSTORE_API struct auditstore_channel *
auditstore_channel_new(const char *target, const struct auditstore_channel_options *options,
                       struct auditstore_status *status);

/* No call may be open, and no other thread inside the channel. Callbacks of calls that were started
 * and never reported don't run any more. NULL is fine. */
AUDITSTORE_API void auditstore_channel_free(struct auditstore_channel *channel);

/* Ends all calls as CANCELLED and takes no more: those that wait in other threads return. Any
 * thread. */
AUDITSTORE_API void auditstore_channel_shutdown(struct auditstore_channel *channel);

/* ---- state ---- */

/* Goes on with what is under way, without waiting. With `connects` a channel begins to connect that
 * is IDLE, or whose pause in TRANSIENT_FAILURE is over; only a name's resolution may take time. */
AUDITSTORE_API enum auditstore_channel_state
auditstore_channel_state(struct auditstore_channel *channel, bool connects);

/* Connects and waits until the channel is in `state`. OK, or DEADLINE_EXCEEDED after timeout_ms
 * (-1: wait for ever), or UNAVAILABLE when it is SHUTDOWN; `status` (may be NULL) says why it isn't
 * there yet. */
AUDITSTORE_API enum auditstore_code auditstore_channel_wait(struct auditstore_channel *channel,
                                                            enum auditstore_channel_state state,
                                                            int timeout_ms,
                                                            struct auditstore_status *status);

/* "READY". Static. */
AUDITSTORE_API const char *auditstore_channel_state_name(enum auditstore_channel_state state);

/* ---- within another loop ---- */

/* A descriptor that becomes readable when auditstore_channel_dispatch() has something to do, timers
 * included. Owned by the channel; to be watched for reading, level-triggered (poll, epoll, libuv,
 * GLib); nothing else may be done with it. -1: out of descriptors. Blocking calls of other threads
 * on the same channel go on to work. */
AUDITSTORE_API int auditstore_channel_fd(struct auditstore_channel *channel);

/* Does what is due without waiting, and runs the callbacks of calls that ended (see
 * auditstore_call_start() in call.h). One thread at a time. Streams take part with timeouts of 0:
 * open one when the channel is READY, and send and receive after each dispatch. */
AUDITSTORE_API void auditstore_channel_dispatch(struct auditstore_channel *channel);

#ifdef __cplusplus
}
#endif

#endif
