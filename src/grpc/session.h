/*
 * session: one HTTP/2 connection: nghttp2's state, its callbacks, and what guards against abuse.
 */
#pragma once

#include "base/bucket.h"
#include "grpc/liveness.h"
#include "grpc/server_private.h"
#include "grpc/share.h"
#include "net/conn.h"

struct grpc_call;

struct grpc_session {
  struct list_link link; /* in server->sessions */
  struct grpc_server *server;
  struct net_conn *conn;         /* borrowed until on_close */
  nghttp2_session *h2;           /* owned */
  struct list calls;             /* with an open stream or a running handler */
  struct grpc_call *header_call; /* whose header block is being read */
  int64_t now_us;                /* of this wake-up, so that the clock is read once */

  /* CLOCK_NEVER when not waited for. */
  int64_t handshake_deadline_us;
  int64_t settings_deadline_us; /* for the acknowledgement of ours */
  int64_t header_deadline_us;
  int64_t goaway_deadline_us;
  struct grpc_liveness liveness;

  struct bucket idle_frames;    /* frames from the peer that bring nothing */
  struct bucket bad_resets;     /* streams we had to reset for the peer's errors */
  int32_t last_stream_id;       /* the greatest that the peer has opened */
  int32_t gap_from, gap_to;     /* ids between them were skipped */
  struct grpc_account *account; /* of its memory */
  size_t tx_bytes;              /* answers of all its calls that wait to be sent */
  struct grpc_share share;      /* of the processor */
  struct buf rest;              /* of what was read, when looking at it took too long for a turn */
  struct loop_task rest_task;
  bool is_interrupted;     /* looking at it */
  bool is_short_of_memory; /* not read, for the memory of all */
  bool is_shed;            /* closed for it */
  bool has_answered;       /* a call */
  bool is_paused;          /* not read, for one of these reasons or another */
  bool is_http1;           /* it gets one line of text, and is closed */
  const char *goaway_text; /* why it is ended gently; NULL: it isn't */
  const char *failure;     /* it gets a GOAWAY that says this, and is closed; else NULL */
  uint32_t failure_code;
};

/* The listener's accept callback; `server` is the user. False: there is no memory for it. */
bool grpc_session_accept(void *server, struct net_conn *conn);

/* Options and callbacks that all sessions of a server share. */
nghttp2_option *grpc_session_options(const struct config_server *config);
nghttp2_session_callbacks *grpc_session_callbacks(void);

/* The ping whose answer brings the second GOAWAY. */
extern const uint8_t grpc_session_goaway_ping[8];

/* Sends the first GOAWAY, which asks the peer to open no new streams. */
void grpc_session_drain(struct grpc_session *session);

/* Asks its streams to end, which may go on for ever otherwise. */
void grpc_session_end_streams(struct grpc_session *session);

/* Reads on, or stops, as what it may is now. */
void grpc_session_update_reading(struct grpc_session *session);

/* Closes the connection without further ado. */
void grpc_session_cut(struct grpc_session *session);

/* Looks at what has been slow. */
void grpc_session_tick(struct grpc_session *session, int64_t now_us);
