/*
 * channel: a connection to an auditstore daemon, made when first needed and again when lost.
 *
 * A channel may be used from several threads; whichever thread waits for an answer does the I/O for
 * all. Nothing happens between calls. Free it when no call is open.
 *
 * When the server announces that it closes a connection, open calls end on it and new ones go to a
 * new connection. A unary call that the server can't have processed is made once more by itself;
 * nothing else is ever sent twice.
 *
 * Deadlines hold for all of it but the resolution of a host's name, which takes as long as the
 * system's resolver does; numeric addresses need none.
 */
#ifndef AUDITSTORE_CHANNEL_H
#define AUDITSTORE_CHANNEL_H

#include "auditstore/export.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct auditstore_channel;

struct auditstore_channel_options {
  int connect_timeout_ms;   /* until the server's first word in HTTP/2; 0: 20000 */
  int default_timeout_ms;   /* deadline of calls that set none; 0: 30000 */
  size_t max_message_bytes; /* of one message received; 0: 4 MiB */
  const char *user_agent;   /* put in front of the library's own; NULL: none. Printable ASCII */
};

/* `target` is "host:port" or "[ipv6]:port". `options` NULL: the defaults. Connects on first use.
 * NULL: out of memory or descriptors, or the target or user_agent is malformed. */
AUDITSTORE_API struct auditstore_channel *
auditstore_channel_new(const char *target, const struct auditstore_channel_options *options);
AUDITSTORE_API void auditstore_channel_free(struct auditstore_channel *channel); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
