/*
 * call: one RPC and its stream, inside the server.
 *
 *   made ──headers good──▶ accepted ──message, half-close──▶ running ──grpc_call_finish──▶ finished
 *     └──headers bad──▶ ended
 *
 * Two things end on their own: the stream (is_stream_open) and the handler (is_running). The struct
 * lives until both have. `is_ended` says that the peer's status is settled, by the handler or, when
 * the peer broke a rule or the deadline passed, by the server; what comes from the peer afterwards
 * is thrown away.
 */
#pragma once

#include "base/arena.h"
#include "grpc/fields.h"
#include "grpc/metadata.h"
#include "grpc/session.h"

/* What was learnt from the request's headers. */
struct grpc_request {
  struct grpc_fields fields;
  const struct grpc_route *route;
  char *unknown_path; /* owned; when there is no route */
  size_t bytes;       /* as RFC 9113 counts them */
  int count;
  int64_t timeout_us; /* CLOCK_NEVER: none */
  enum { VERB_OTHER, VERB_GET, VERB_POST } verb;
  enum { TYPE_NONE, TYPE_OTHER, TYPE_GRPC, TYPE_GRPC_PROTO, TYPE_GRPC_OTHER } type;
  bool is_root; /* the path is "/" */
  uint64_t host_hash;
  bool has_two_hosts; /* ":authority" and "host" differ (gRFC A41) */
  bool is_timeout_bad;
  enum { ENCODING_NONE, ENCODING_GZIP, ENCODING_OTHER } encoding; /* of messages with flag 1 */
  bool accepts_gzip;
  bool is_metadata_bad;
  struct grpc_metadata metadata;
};

enum grpc_call_event { EVENT_CANCEL = 1, EVENT_WRITABLE = 2, EVENT_DRAIN = 4 };

struct grpc_call {
  struct list_link link;        /* in session->calls or server->orphans */
  struct grpc_server *server;   /* NULL once the server is freed */
  struct grpc_session *session; /* NULL once the connection is gone */
  int32_t stream_id;
  struct grpc_request request;
  struct grpc_deadline deadline;
  int64_t progress_us; /* when bytes last moved, either way, or began to be waited for */

  bool is_stream_open;
  bool is_accepted;
  bool is_let_in; /* by the open hook */
  bool is_page;   /* a browser's request: answered with a text */
  bool is_half_closed;
  bool is_running;
  bool is_ended;
  bool is_cancelled;
  bool is_response_started;
  bool is_deferred; /* nghttp2 waits for bytes of ours */
  bool has_trailers;
  bool is_in_events;
  bool was_full;      /* on_writable is due when there is room */
  bool holds_headers; /* they don't go out at accept */
  enum { COMPRESS_AS_SET, COMPRESS_OFF, COMPRESS_ON } compression; /* of answers */
  bool may_compress;                                               /* the headers say so */

  struct grpc_deframer rx;
  size_t rx_uncredited; /* bytes of the message under assembly not yet given back as window */
  struct list messages; /* given to the handler and not released */
  struct grpc_account *account; /* a reference of its own */

  struct grpc_metadata headers;  /* the handler's, for the response */
  struct grpc_metadata trailers; /* the same, behind it */

  struct buf tx;
  size_t tx_counted; /* of it, in session->tx_bytes */
  size_t tx_left;    /* of the message that is partly handed to nghttp2 */

  enum grpc_code code;
  struct buf status_text; /* grpc-message, then grpc-status-details-bin, as sent */
  size_t status_message_len;

  struct grpc_call_events events;
  void *events_arg;
  void *context;
  void *caller; /* owned, by way of free_caller; NULL until the open callback sets it */
  void (*free_caller)(void *caller);
  unsigned pending_events;
  unsigned reported_events;
  struct loop_task events_task;
};

/* ---- call.c: life ---- */

/* NULL: no room for it. */
struct grpc_call *grpc_call_new(struct grpc_session *session, int32_t stream_id);

/* Settles the status. `details` is a packed google.rpc.Status or empty. Queued messages go first.
 */
void grpc_call_end(struct grpc_call *call, enum grpc_code code, struct str message,
                   struct str details);

/* Settles it with all that `status` says, which stays the caller's. */
void grpc_call_end_with(struct grpc_call *call, struct grpc_status *status);

/* The same for a call whose handler may be running, which is told. Takes `status`. */
void grpc_call_refuse(struct grpc_call *call, struct grpc_status *status);

/* The server ends the call against the peer: a rule was broken. */
void grpc_call_fail(struct grpc_call *call, enum grpc_code code, const char *message);

/* The same, and what is queued is dropped; the stream is reset when a message is half sent. */
void grpc_call_cut(struct grpc_call *call, enum grpc_code code, const char *message);

/* Resets the stream of a request that breaks HTTP's rules: `fault` says how, to the log. */
void grpc_call_reject(struct grpc_call *call, const char *fault);

/* Resets the stream. */
void grpc_call_reset(struct grpc_call *call, uint32_t error_code);

/* The stream is closed. */
void grpc_call_stream_closed(struct grpc_call *call);

/* The connection is gone. */
void grpc_call_conn_lost(struct grpc_call *call);

/* The server is freed before an orphan's handler is done. */
void grpc_call_disown(struct grpc_call *call);

void grpc_call_deadline_passed(struct grpc_deadline *deadline);
void grpc_call_drain(struct grpc_call *call);

/* From now on the peer is given its time to send or to take bytes. */
void grpc_call_touch(struct grpc_call *call);

/* Ends a call whose peer let that time pass. */
void grpc_call_tick(struct grpc_call *call, int64_t now_us);

/* Runs an event callback at the end of the turn. */
void grpc_call_post(struct grpc_call *call, enum grpc_call_event event);

/* ---- headers.c: the request's headers ---- */

/* What is above the limits isn't kept. False: so far above them that the peer can't be honest. */
bool grpc_headers_take(struct grpc_call *call, struct str name, struct str value);
bool grpc_headers_take_trailer(struct grpc_call *call, struct str name, size_t value_len);

/* All are there: accepts the call, or answers why not. */
void grpc_headers_complete(struct grpc_call *call);

/* ---- receive.c: request messages ---- */

void grpc_receive_data(struct grpc_call *call, const uint8_t *data, size_t len);
void grpc_receive_half_close(struct grpc_call *call);

/* Gives back the window of the message under assembly, unless the handler holds others. */
void grpc_receive_credit(struct grpc_call *call);

/* ---- respond.c: response headers, messages, trailers ---- */

/* Starts the response, or wakes it up. */
void grpc_respond(struct grpc_call *call);

/* Sends the trailers of an ended call past what is queued, also when the peer's window is shut. */
void grpc_respond_trailers_now(struct grpc_call *call);

/* Brings session->tx_bytes up to date with what the call has queued. */
void grpc_respond_count(struct grpc_call *call);

/* Ends a call that isn't gRPC with an HTTP status, such as "415". */
void grpc_respond_http(struct grpc_call *call, const char *http_status, enum grpc_code code,
                       const char *message);

/* Answers a browser. */
void grpc_respond_page(struct grpc_call *call);

/* Keeps what the trailers will say. Too long a text is cut; details that don't fit are left out. */
void grpc_respond_set_status(struct grpc_call *call, enum grpc_code code, struct str message,
                             struct str details);

/* ---- message.c ---- */

struct grpc_message {
  struct list_link link;        /* in call->messages */
  struct grpc_call *call;       /* NULL once the call is freed */
  struct arena arena;           /* owned; holds the unpacked request */
  size_t bytes;                 /* inflated */
  struct grpc_account *account; /* a reference of its own */
  size_t extra_bytes;           /* held for it besides the arena */
  bool is_compressed;
  size_t uncredited; /* window held back until release */
};

/* Unpacks the complete message of call->rx. NULL after it failed the call. */
struct grpc_message *grpc_message_unpack(struct grpc_call *call, ProtobufCMessage **ret_request);

/* Ends a call for whose message the server has no memory. */
void grpc_call_fail_short(struct grpc_call *call);

/* The call goes away before these messages do. */
void grpc_message_detach_all(struct grpc_call *call);
