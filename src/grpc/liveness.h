/*
 * liveness: how long a connection may be silent, idle or old, and how often its peer may ping.
 *
 * Embedded in a session, which tells what happens and asks at each tick what is due.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

/* What a session has to do. */
enum grpc_liveness_need {
  GRPC_LIVENESS_NOTHING,
  GRPC_LIVENESS_PING,   /* ask the peer whether it is there */
  GRPC_LIVENESS_SILENT, /* it didn't answer */
  GRPC_LIVENESS_IDLE,   /* end the connection gently: it isn't used */
  GRPC_LIVENESS_OLD,    /* the same: it is too old */
  GRPC_LIVENESS_GRACE,  /* its calls had their time: end them */
  GRPC_LIVENESS_CUT,    /* they didn't end */
};

/* Deadlines are CLOCK_NEVER when not waited for. */
struct grpc_liveness {
  const struct config_server *config; /* borrowed */
  int64_t read_us;                    /* when the peer last sent anything */
  int64_t pong_deadline_us;           /* for it to send anything, since we pinged */
  int64_t idle_us;                    /* since when there is no call; CLOCK_NEVER: there are */
  int64_t age_deadline_us;
  int64_t grace_deadline_us;
  int64_t cut_deadline_us;
  int64_t ping_us; /* when the peer last pinged */
  int strikes;     /* pings that came too soon, since grpc_liveness_used() */
};

void grpc_liveness_init(struct grpc_liveness *l, const struct config_server *config,
                        int64_t now_us);

/* Bytes came. */
void grpc_liveness_read(struct grpc_liveness *l, int64_t now_us);

/* A call began, or headers or data were sent: clients measure the line with pings then. */
void grpc_liveness_used(struct grpc_liveness *l);

/* The peer pinged. False: once too often. */
bool grpc_liveness_pinged(struct grpc_liveness *l, int64_t now_us);

/* One thing that is due, and each only once. */
enum grpc_liveness_need grpc_liveness_tick(struct grpc_liveness *l, bool has_calls, int64_t now_us);
