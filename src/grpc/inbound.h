/*
 * inbound: the memory of messages being received or worked on, of all connections together.
 *
 * Words: unfinished = the part of a message that has arrived while the rest hasn't; held = unpacked
 * and not released by its handler. Above server.max_inbound_bytes no connection is read until
 * handlers have released enough. Handlers can't be waited for when the memory is in unfinished
 * messages, so these may have half of it: above that, the connection with the most has the calls
 * that hold them ended. A window of HTTP/2 couldn't do this: what was granted can't be taken back.
 */
#pragma once

#include <stddef.h>

struct grpc_call;
struct grpc_server;
struct grpc_session;

/* What one call has added to the sums. */
struct grpc_inbound_share {
  size_t unfinished;
  size_t held;
};

/* Brings the sums up to date with what the call has; to be called when that changed. Reads on when
 * there is room again. */
void grpc_inbound_count(struct grpc_call *call);

/* The call goes away. */
void grpc_inbound_forget(struct grpc_call *call);

/* The connection was read: ends calls, or stops reading it, when there is too much. */
void grpc_inbound_check(struct grpc_session *session);
