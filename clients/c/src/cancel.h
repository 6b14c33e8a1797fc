/*
 * cancel: calls that can be cancelled together, from any thread.
 *
 * The order of locks: a cancellation's, then a channel's. So a call joins and leaves while its
 * channel isn't locked, and cancelling holds on to each call, and its channel, by the first lock.
 */
#pragma once

#include "auditstore/call.h"
#include "base/list.h"

/* In a call. */
struct cancellable {
  struct auditstore_cancellation *cancellation; /* borrowed; NULL: none */
  struct list_link entry;
};

/* Before the call begins; NULL is fine. One that was cancelled before ends the call. */
void cancellation_join(struct auditstore_cancellation *cancellation, struct auditstore_stream *s);
void cancellation_leave(struct auditstore_stream *s); /* fine without one */
