/*
 * internal: the client library's own structures.
 *
 * Words: leader = the thread that polls a channel's socket for all that wait on it; followers wait
 * for its news. Everything in a channel and its calls is guarded by channel->lock, except during
 * poll(2) and name resolution, which run without it. Nothing here aborts or writes to standard
 * error; out of memory ends a call with RESOURCE_EXHAUSTED.
 */
#pragma once

#include "auditstore/call.h"
#include "base/buf.h"
#include "base/list.h"
#include "grpc/wire.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>

#define NEVER INT64_MAX

/* ---- time ---- */

int64_t monotonic_us(void);
int64_t timeout_to_deadline(int timeout_ms); /* -1: NEVER */

/* ---- channel ---- */

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_UP };

struct auditstore_channel {
  char *host;       /* owned */
  char *port;       /* owned */
  char *authority;  /* owned */
  char *user_agent; /* owned */
  int connect_timeout_ms;
  int default_timeout_ms;
  size_t max_message_bytes;

  pthread_mutex_t lock;
  pthread_cond_t news; /* on the monotonic clock */
  bool has_leader;
  int wake_fd; /* gets the leader out of poll */

  enum link_state state;
  int fd;
  nghttp2_session *session; /* owned while the link is up */
  struct buf out;           /* bytes that the socket didn't take yet */
  bool is_going_away;       /* the server sent GOAWAY: no new calls on this link */
  struct list calls;        /* of this link, not ended */
};

/* Makes every waiting thread look again, the leader in its poll too. */
void channel_tell(struct auditstore_channel *c);

/* One step of waiting: does I/O as the leader, or sleeps until there is news or `deadline_us`. */
void channel_wait(struct auditstore_channel *c, int64_t deadline_us);

/* Writes what is queued as far as the socket takes it; the leader is told when it must wait for the
 * rest. */
void channel_flush(struct auditstore_channel *c);

/* Makes the link when there is none that takes new calls. On failure fills *ret_status. */
enum auditstore_code channel_connect(struct auditstore_channel *c, int64_t deadline_us,
                                     bool wait_for_ready, struct auditstore_status *ret_status);

/* Closes the link; its calls end as UNAVAILABLE with the reason. */
void channel_drop_link(struct auditstore_channel *c, const char *reason);

/* Waits on the channel's condition only. */
void channel_sleep(struct auditstore_channel *c, int64_t deadline_us);

/* ---- session: the HTTP/2 side of a link ---- */

int session_open(struct auditstore_channel *c);

/* Feeds received bytes. Negative: the connection must be dropped. */
int session_receive(struct auditstore_channel *c, const uint8_t *data, size_t len);

/* Moves frames into c->out. Negative: the connection must be dropped. */
int session_produce(struct auditstore_channel *c);

/* ---- calls ---- */

struct received {
  struct list_link link;
  size_t len;
  uint8_t bytes[];
};

struct auditstore_stream {
  struct auditstore_channel *channel; /* borrowed */
  const struct auditstore_method *method;
  struct list_link link; /* in channel->calls until ended */
  int32_t id;            /* 0: not on a link */
  int64_t deadline_us;
  struct buf out; /* framed messages not taken by HTTP/2 yet */
  bool is_half_closed;
  bool is_deferred; /* the session waits for more of `out` */
  bool has_headers; /* the first response headers came */
  bool has_status;  /* grpc-status came */
  bool is_grpc;     /* content-type says so */
  bool may_retry;   /* the server promised that it did not process the call */
  bool is_ended;
  int http_status;
  struct grpc_deframer deframer;
  struct list inbox; /* struct received, complete and not taken */
  size_t inbox_bytes;
  size_t held_bytes;               /* received above the inbox's limit: credit not given back yet */
  struct auditstore_status status; /* as it will be told; final once is_ended */
};

/* Takes the call off its link and makes its end final. */
void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* Resets the HTTP/2 stream, then call_end(). */
void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* From session callbacks. */
void call_on_header(struct auditstore_stream *s, struct str name, struct str value);
void call_on_data(struct auditstore_stream *s, const uint8_t *data, size_t len);
void call_on_close(struct auditstore_stream *s, uint32_t http2_error);

/* Puts the request on the link. */
int call_submit(struct auditstore_stream *s, const struct auditstore_call_options *options);

/* ---- status ---- */

void status_set(struct auditstore_status *status, enum auditstore_code code, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

/* Moves what `from` owns. `to` may be NULL: then it is freed. */
enum auditstore_code status_move(struct auditstore_status *from, struct auditstore_status *to);

void status_take_header(struct auditstore_status *status, struct str name, struct str value);

/* Codes for ends that carry no grpc-status (gRPC's http-grpc-status-mapping and HTTP/2 mapping). */
enum auditstore_code code_of_http_status(int http_status);
enum auditstore_code code_of_http2_error(uint32_t http2_error);
