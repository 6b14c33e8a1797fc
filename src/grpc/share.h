/*
 * share: how much of the processor the reading of one connection may take while others are read.
 *
 * There is one thread, so what one connection's bytes cost, be it inflating, checking or cryptic
 * headers, all others wait for. The time is measured and paid from a bucket; a connection whose
 * bucket is empty isn't read until it has filled a little. A connection that is alone pays nothing.
 */
#pragma once

#include "grpc/deadlines.h"

struct grpc_session;

/* Embedded in a session. */
struct grpc_share {
  int64_t left_us;   /* negative: owed */
  int64_t filled_us; /* monotonic; up to when it was filled */
  struct grpc_deadline rest;
  size_t unwatched_bytes; /* taken in since the clock was last asked whether the turn is over */
};

void grpc_share_init(struct grpc_share *share, int64_t now_us);

/* The connection was read, from session->now_us until now. */
void grpc_share_charge(struct grpc_session *session);

/* A field or a piece of a message was taken in that costs as much as so many bytes of fields do.
 * True: the connection has been looked at for long enough at a time, from session->now_us on. */
bool grpc_share_turn_is_over(struct grpc_session *session, size_t bytes);

bool grpc_share_is_resting(const struct grpc_share *share);

/* The server's, when a rest is over. */
void grpc_share_rested(struct grpc_deadline *rest);

/* The session goes away. */
void grpc_share_end(struct grpc_session *session);
