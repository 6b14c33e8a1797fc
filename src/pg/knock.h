/*
 * knock: whether anything lives behind an address of PostgreSQL, without a connection.
 *
 * The eight bytes that ask for TLS are sent, and the one byte of the answer is read; then the
 * socket is closed. PostgreSQL answers before it has counted a connection, so a knock takes none of
 * max_connections, nor of ours. Loop thread only.
 */
#pragma once

#include "pg/hosts.h"

struct pg_knock;

/* `is_answered`: something was said, or the door was shut by who is there. False: no way leads
 * there, or nobody listens. */
typedef void pg_knock_cb(void *arg, bool is_answered);

/* cb runs once, from the loop; never, as long as nothing answers. NULL: it can't be tried. */
struct pg_knock *pg_knock_start(struct loop *loop, const struct pg_endpoint *at, pg_knock_cb *cb,
                                void *arg);

/* cb won't run; the memory frees itself. NULL is fine. */
void pg_knock_abandon(struct pg_knock *knock);
