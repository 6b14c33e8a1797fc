/*
 * internal: the client library's own structures.
 *
 * Words: link = one connection with its HTTP/2 session; leader = the thread that polls the sockets
 * of a channel for all that wait on it; followers wait for its news.
 *
 * A channel has at most one link that takes new calls. Links that the server is closing (GOAWAY)
 * stay beside it until their calls have ended.
 *
 * Everything in a channel, its links and its calls is guarded by channel->lock, except during
 * poll(2), name resolution and connecting, which run without it. Nothing here aborts or writes to
 * standard error; out of memory ends a call with RESOURCE_EXHAUSTED.
 */
#pragma once

#include "auditstore/call.h"
#include "base/buf.h"
#include "base/list.h"
#include "grpc/wire.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>

#define NEVER INT64_MAX
/* With so many, a new one is made only when one of the old has ended. */
#define MAX_LINKS    8
#define REASON_BYTES 256
#define READ_BYTES   ((size_t)64 * 1024)

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

  struct list links; /* the newest is the last */
  unsigned drops;    /* of links: tells a thread that something ended meanwhile */

  bool is_connecting;         /* some thread makes a link */
  unsigned failures;          /* of attempts to make one */
  char failure[REASON_BYTES]; /* why the last one failed; "": it didn't */
};

struct link {
  struct auditstore_channel *channel; /* borrowed */
  struct list_link entry;             /* in channel->links */
  int fd;
  nghttp2_session *session; /* owned */
  struct list calls;        /* not ended */
  struct buf out;           /* bytes that the socket didn't take yet */
  uint64_t produced;        /* bytes that ever went into `out` */
  uint64_t written;         /* of them, bytes that the socket took */
  bool is_ready;            /* the server's SETTINGS came: it speaks HTTP/2 */
  bool is_dead;             /* shut down; freed when no thread uses it */
  bool is_kept;             /* by the thread that makes it */
  uint8_t in[READ_BYTES];
};

/* ---- time ---- */

int64_t monotonic_us(void);
int64_t timeout_to_deadline(int timeout_ms); /* negative: NEVER */

/* ---- waiting ---- */

/* Makes every waiting thread look again, the leader in its poll too. */
void channel_tell(struct auditstore_channel *c);

/* One step of waiting: does I/O as the leader, or sleeps until there is news or `deadline_us`.
 * Returns at once when a link was lost; what the caller waits for may have ended with it. */
void channel_wait(struct auditstore_channel *c, int64_t deadline_us);

/* Waits for news only. */
void channel_sleep(struct auditstore_channel *c, int64_t deadline_us);

/* Writes what is queued on every link as far as the sockets take it. */
void channel_flush(struct auditstore_channel *c);

/* ---- links ---- */

/* Takes over `fd`, also on failure. NULL: out of memory. */
struct link *link_new(struct auditstore_channel *c, int fd);

/* Ends its calls as UNAVAILABLE with the reason; the link is freed later, by channel_reap(). */
void link_drop(struct link *l, const char *reason);

/* Reads until the socket is empty. Returns whether anything came. */
bool link_receive(struct link *l);

/* Writes as far as the socket takes it; the leader is told when it must wait for the rest. */
void link_flush(struct link *l);

/* Frees links that are dead, unless some thread uses them. */
void channel_reap(struct auditstore_channel *c);

/* Gives the link for a new call, made when there is none. On failure fills *ret_status; with
 * `wait_for_ready` that is at the deadline only. */
enum auditstore_code channel_connect(struct auditstore_channel *c, int64_t deadline_us,
                                     bool wait_for_ready, struct link **ret_link,
                                     struct auditstore_status *ret_status);

/* ---- session: the HTTP/2 side of a link ---- */

int session_open(struct link *l);

/* Feeds received bytes. Negative: the connection must be dropped. */
int session_receive(struct link *l, const uint8_t *data, size_t len);

/* Moves frames into l->out. Negative: the connection must be dropped. */
int session_produce(struct link *l);

/* ---- calls ---- */

struct received {
  struct list_link entry;
  size_t len;
  uint8_t bytes[];
};

struct auditstore_stream {
  struct auditstore_channel *channel; /* borrowed */
  const struct auditstore_method *method;
  bool is_unary;
  int64_t deadline_us;

  struct link *link;      /* NULL: not on one, or ended */
  struct list_link entry; /* in link->calls */
  int32_t id;
  uint64_t sent_at; /* link->produced before the request; UINT64_MAX: not handed to HTTP/2 yet */

  struct buf out; /* framed messages not taken by HTTP/2 yet */
  bool is_half_closed;
  bool is_deferred; /* the session waits for more of `out` */

  bool has_headers; /* the response headers came */
  bool has_status;  /* grpc-status came */
  bool is_grpc;     /* content-type says so */
  bool may_retry;   /* the server can't have processed the call */
  bool is_ended;
  int http_status;
  struct grpc_deframer deframer;
  struct list inbox; /* struct received, complete and not taken */
  size_t inbox_bytes;
  size_t held_bytes;               /* received, and no credit given back for them yet */
  struct auditstore_status status; /* final once is_ended */
};

/* NULL: out of memory. */
struct auditstore_stream *call_new(struct auditstore_channel *c,
                                   const struct auditstore_method *method, int64_t deadline_us);

/* It must have ended, or never been on a link. */
void call_free(struct auditstore_stream *s);

/* Takes the call off its link and makes its end final. `message` NULL: the status is as the server
 * sent it. */
void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* Resets the HTTP/2 stream, then call_end(). */
void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* The oldest message received, owned by the caller; NULL: none. */
struct received *call_take_message(struct auditstore_stream *s);
void call_drop_messages(struct auditstore_stream *s);

/* Puts the request's headers on the link. Negative: s->status says why. */
int call_submit(struct auditstore_stream *s, struct link *l,
                const struct auditstore_call_options *options);

/* From session callbacks. */
void call_on_header(struct auditstore_stream *s, struct str name, struct str value);
void call_on_headers_end(struct auditstore_stream *s);
void call_on_data(struct auditstore_stream *s, const uint8_t *data, size_t len);
void call_on_answer_end(struct auditstore_stream *s); /* END_STREAM */
void call_on_close(struct auditstore_stream *s, uint32_t http2_error);
void call_on_goaway(struct auditstore_stream *s);

/* ---- streams, which unary calls are made of; under the lock ---- */

/* What calls without options have. */
extern const struct auditstore_call_options no_call_options;

int64_t call_deadline(const struct auditstore_channel *c,
                      const struct auditstore_call_options *options);

/* NULL: `status` says why. */
struct auditstore_stream *stream_open_locked(struct auditstore_channel *c,
                                             const struct auditstore_method *method,
                                             const struct auditstore_call_options *options,
                                             int64_t deadline_us, struct auditstore_status *status);
enum auditstore_stream_result stream_send_locked(struct auditstore_stream *s,
                                                 const ProtobufCMessage *message, int64_t until_us);
void stream_half_close_locked(struct auditstore_stream *s);

/* auditstore_stream_send() of a message that is packed already, in parts. Without the lock. */
enum auditstore_stream_result stream_send_parts(struct auditstore_stream *s,
                                                const struct str *parts, size_t count,
                                                int timeout_ms);

/* Waits until the call has ended. */
void stream_wait_end_locked(struct auditstore_stream *s);

/* ---- status ---- */

void status_set(struct auditstore_status *status, enum auditstore_code code, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

/* Moves what `from` owns. `to` may be NULL: then it is freed. */
enum auditstore_code status_move(struct auditstore_status *from, struct auditstore_status *to);

void status_take_header(struct auditstore_status *status, struct str name, struct str value);

/* Codes for ends that carry no grpc-status (gRPC's http-grpc-status-mapping and HTTP/2 mapping). */
enum auditstore_code code_of_http_status(int http_status);
enum auditstore_code code_of_http2_error(uint32_t http2_error);
