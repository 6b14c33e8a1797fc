/*
 * internal: the client library's own structures.
 *
 * Words: link = one connection with its HTTP/2 session; leader = the thread that polls the sockets
 * of a channel for all that wait on it; followers wait for its news; turn = doing all that is due
 * without waiting; attempt = one time that a call is on a link; round = one try at all addresses.
 *
 * A channel has at most one link that takes new calls. Links that the server is closing (GOAWAY)
 * stay beside it until their calls have ended.
 *
 * Everything in a channel, its links and its calls is guarded by channel->lock, except during
 * poll(2) and name resolution, which run without it. No callback of the program runs under it.
 * Nothing here aborts or writes to standard error; out of memory ends a call with
 * RESOURCE_EXHAUSTED.
 */
#pragma once

#include "address.h"
#include "auditstore/call.h"
#include "backoff.h"
#include "base/buf.h"
#include "base/list.h"
#include "cancel.h"
#include "grpc/gzip.h"
#include "grpc/wire.h"
#include "loop.h"
#include "metadata.h"
#include "reason.h"
#include "retry.h"
#include "target.h"
#include "tls.h"
#include "token.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>

#define NEVER INT64_MAX
/* With so many, a new one is made only when one of the old has ended. */
#define MAX_LINKS  8
#define READ_BYTES ((size_t)64 * 1024)

/* ---- the channel ---- */

/* A round of attempts at all addresses. */
struct dial {
  bool is_under_way;
  bool is_resolving; /* some thread does, without the lock */
  struct address_list addresses;
  size_t next;       /* of them */
  struct link *link; /* at the one before `next`; NULL: it failed, or is to be begun */
  int64_t began_us;  /* that link */
  int64_t part_us;   /* what it may take */
  int64_t budget_us; /* what is left for the round */
  struct reason report;
};

struct auditstore_channel {
  struct target_list targets;
  char *user_agent; /* owned */
  int64_t connect_timeout_us;
  int default_timeout_ms;
  size_t max_message_bytes;
  struct tls_files *tls; /* owned; NULL: without TLS */
  struct token token;
  struct metadata metadata;  /* sent with each call */
  int64_t keepalive_time_us; /* NEVER: no pings */
  int64_t keepalive_timeout_us;
  struct auditstore_retry_policy retry;
  struct retry_throttle throttle;
  auditstore_state_cb *on_state;
  void *on_state_arg;

  pthread_mutex_t lock;
  pthread_cond_t news; /* on the monotonic clock */
  bool has_leader;
  int wake_fd; /* gets the leader out of poll */

  struct list links;   /* the newest is the last */
  struct list waiting; /* calls that are on no link yet, or not again */
  struct list done;    /* calls of auditstore_call_start() that have ended */
  struct loop loop;
  unsigned changes; /* bytes read, ends of calls and links, states: tells a thread to look again */
  int64_t due_us;   /* a turn has something to do by then; may be too early, never too late */

  enum auditstore_channel_state state;
  enum auditstore_channel_state told_state; /* what on_state has heard */
  bool is_telling;                          /* some thread is in on_state */
  int wanted;                               /* a connection is, by so many beside the calls */
  struct dial dial;
  struct backoff backoff;
  struct reason failure;             /* of the last round */
  enum auditstore_code failure_code; /* UNAVAILABLE; another one: no round will do better */
  bool is_fruitful;                  /* a call was answered on the last connection */
  int fruitless;   /* connections on which no call was answered, one after another */
  uint64_t random; /* state of backoff_random() */
};

/* Ends a public call: tells the program of a new state, then lets go of the lock. */
void channel_leave(struct auditstore_channel *c);

/* The same within a call that goes on; the lock is let go of meanwhile. */
void channel_tell_state(struct auditstore_channel *c);

void channel_set_state(struct auditstore_channel *c, enum auditstore_channel_state state);

/* ---- time ---- */

int64_t monotonic_us(void);
int64_t timeout_to_deadline(int timeout_ms); /* negative: NEVER */

static inline int64_t earlier(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* A turn is due at that time. */
static inline void channel_due(struct auditstore_channel *c, int64_t at_us) {
  c->due_us = earlier(c->due_us, at_us);
}

/* ---- waiting ---- */

/* Makes every waiting thread look again, the leader in its poll too. */
void channel_tell(struct auditstore_channel *c);

/* Does all that is due, but for reading from sockets. Lets go of the lock to resolve names. */
void channel_turn(struct auditstore_channel *c);

/* Goes on with every link: the server may have answered, or have closed, while nobody looked. */
void channel_look(struct auditstore_channel *c);

/* One step of waiting: does I/O as the leader, or sleeps until there is news or `until_us`. Returns
 * at once when something ended meanwhile; what the caller waits for may have ended with it. */
void channel_wait(struct auditstore_channel *c, int64_t until_us);

/* Writes what is queued on every link as far as the sockets take it. */
void channel_flush(struct auditstore_channel *c);

/* ---- connecting ---- */

/* Begins a round when a connection is wanted, or goes on with it. Never waits but for names. */
void dial_step(struct auditstore_channel *c);

/* The link under way is lost, or ready. */
void dial_on_lost(struct auditstore_channel *c, const char *reason);
void dial_on_ready(struct auditstore_channel *c);

/* Gives the round up. */
void dial_abandon(struct auditstore_channel *c);

/* Until when the link under way has to be ready; NEVER: none is. */
int64_t dial_limit_us(const struct auditstore_channel *c);

/* The link for new calls; NULL: none. */
struct link *find_link(const struct auditstore_channel *c);

/* A READY channel without a link for new calls is one no more. */
void channel_settle(struct auditstore_channel *c);

/* ---- links ---- */

enum link_phase {
  LINK_CONNECTING, /* the socket */
  LINK_SHAKING,    /* hands, by TLS */
  LINK_GREETING,   /* HTTP/2: the server's SETTINGS aren't there yet */
  LINK_READY
};

struct link {
  struct auditstore_channel *channel; /* borrowed */
  const struct target *target;        /* borrowed */
  struct list_link entry;             /* in channel->links */
  int fd;
  enum link_phase phase;
  nghttp2_session *session; /* owned; NULL before LINK_GREETING */
  struct tls *tls;          /* owned; NULL: without */
  struct list calls;        /* not ended */
  struct buf plain;         /* with TLS: frames not encrypted yet */
  struct buf out;           /* bytes that the socket didn't take yet */
  uint64_t produced;        /* bytes of frames ever taken from the session */
  uint64_t written;         /* of them, those that may be on their way */
  int64_t heard_us;         /* when the server's last bytes were read */
  int64_t pinged_us;        /* 0: no ping of ours is unanswered */
  uint32_t watched;         /* by the channel's loop: epoll's events; 0: not in it */
  bool is_dead;             /* shut down; freed when no thread uses it */
  uint8_t in[READ_BYTES];
};

/* Takes over `fd`, also on failure. NULL: *reason. */
struct link *link_new(struct auditstore_channel *c, int fd, const struct address *address,
                      struct reason *reason);

/* Its attempts end as UNAVAILABLE with the reason; the link is freed later, by channel_reap(). */
void link_drop(struct link *l, const char *reason);

/* The same, in good order towards the server. */
void link_close(struct link *l);

/* Goes on as far as it can: connects, shakes hands, reads until the socket is empty. Tells the
 * other threads when something came. */
void link_receive(struct link *l);

/* Writes as far as the socket takes it; the leader is told when it must wait for the rest. */
void link_flush(struct link *l);

/* Whether it waits until the socket takes more. */
static inline bool link_wants_to_write(const struct link *l) {
  return l->phase == LINK_CONNECTING || buf_len(&l->out) > 0;
}

/* Frees links that are dead, unless some thread uses them. */
void channel_reap(struct auditstore_channel *c);

/* A call is about to join it: from here on it may not be silent for too long. */
void link_watch(struct link *l);

/* Pings when that is due, and drops a link that didn't answer. Returns when to look again. */
int64_t link_keep_alive(struct link *l, int64_t now_us);

/* ---- the program's loop; all of it does nothing before auditstore_channel_fd() ---- */

/* Dispatch has something to do. */
void loop_wake(struct auditstore_channel *c);

/* A call of auditstore_call_start() has ended. */
void loop_add_done(struct auditstore_stream *s);

/* Watches the link's socket for what it waits for; no more when it is dead. */
void loop_watch(struct link *l);

/* Sets the timer to channel->due_us. */
void loop_arm(struct auditstore_channel *c);

/* ---- session: the HTTP/2 side of a link ---- */

int session_open(struct link *l);

/* Feeds received bytes. Negative: the connection must be dropped. */
int session_receive(struct link *l, const uint8_t *data, size_t len);

/* Moves frames into `out`. Negative: the connection must be dropped. */
int session_produce(struct link *l, struct buf *out);

/* ---- calls ---- */

struct received {
  struct list_link entry;
  size_t len;
  bool is_compressed;
  uint8_t bytes[];
};

struct auditstore_stream {
  struct auditstore_channel *channel; /* borrowed */
  const struct auditstore_method *method;
  bool is_unary;
  bool waits_for_ready;
  int64_t deadline_us;
  struct metadata metadata;
  struct retry retry;
  bool compresses;
  struct grpc_gzip gzip;
  struct cancellable cancellable;
  auditstore_done_cb *on_done; /* NULL: some thread waits for it */
  void *on_done_arg;

  /* In channel->waiting (`link` NULL) or in link->calls; in neither before call_begin() and when it
   * has ended; then in channel->done if it has an on_done. */
  struct link *link;
  struct list_link entry;
  bool is_begun;
  int64_t pause_until_us; /* before the next attempt; 0: none */
  int32_t id;
  uint64_t sent_at; /* link->produced before the request; UINT64_MAX: not handed to HTTP/2 yet */

  struct buf out;    /* framed messages; those that an attempt may need again are kept */
  size_t out_taken;  /* of its bytes, by HTTP/2 */
  bool is_committed; /* to this attempt: nothing is kept for another one */
  bool is_half_closed;
  bool is_deferred; /* the session waits for more of `out` */

  bool has_headers; /* the response headers came */
  bool has_status;  /* grpc-status came */
  bool is_grpc;     /* content-type says so */
  bool is_ended;
  int http_status;
  struct grpc_deframer deframer;
  struct list inbox; /* struct received, complete and not taken */
  size_t inbox_bytes;
  size_t held_bytes;               /* received, and no credit given back for them yet */
  struct auditstore_status status; /* final once is_ended */
};

/* What calls without options have. */
extern const struct auditstore_call_options no_call_options;

/* Without the lock. `options` may be NULL. NULL: `status` says why. */
struct auditstore_stream *call_new(struct auditstore_channel *c,
                                   const struct auditstore_method *method,
                                   const struct auditstore_call_options *options,
                                   struct auditstore_status *status);

/* It must have ended, or never have begun. */
void call_free(struct auditstore_stream *s);

/* From here on it waits for a link, until it has ended. */
void call_begin(struct auditstore_stream *s);

/* The same without ever waiting for a name: dispatch goes on with it. */
void call_begin_in_loop(struct auditstore_stream *s);

/* Off its link, or out of the waiting ones. */
void call_leave(struct auditstore_stream *s);

/* Resets its HTTP/2 stream, if it has one. */
void call_reset(struct auditstore_stream *s, uint32_t http2_error);

/* Puts calls that wait on the link, if there is one; ends those that don't wait for a better time.
 */
void calls_place(struct auditstore_channel *c);

/* Takes the call off its link and makes its end final. `message` NULL: the status is as the server
 * sent it. */
void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* Resets the HTTP/2 stream, then call_end(). */
void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message);

/* The attempt has ended, by s->status; the call ends with it or is made again. `is_untouched`: the
 * server can't have processed it. */
void call_attempt_over(struct auditstore_stream *s, bool is_untouched);

/* Nothing that was sent is kept for another attempt. */
void call_commit(struct auditstore_stream *s);

/* The oldest message received, owned by the caller; NULL: none. */
struct received *call_take_message(struct auditstore_stream *s);
void call_drop_messages(struct auditstore_stream *s);

/* Puts the request's headers on the link. Negative: s->status says why. */
int call_submit(struct auditstore_stream *s, struct link *l);

/* Frames `message` behind what is in `out`, as gzip where that is shorter; `gzip` NULL: as it is.
 * False: too large, or out of memory. Without the lock, unless `out` needs it. */
bool message_frame(struct buf *out, const ProtobufCMessage *message, struct grpc_gzip *gzip);

/* The same of one that is packed already, in parts. */
bool message_frame_packed(struct buf *out, const struct str *parts, size_t count);

/* What was received, unpacked; frees `received`. NULL: `status` says why. Without the lock. */
ProtobufCMessage *message_unpack(struct auditstore_stream *s, struct received *received,
                                 struct auditstore_status *status);

/* From session callbacks. */
void call_on_header(struct auditstore_stream *s, struct str name, struct str value);
void call_on_headers_end(struct auditstore_stream *s);
void call_on_data(struct auditstore_stream *s, const uint8_t *data, size_t len);
void call_on_answer_end(struct auditstore_stream *s); /* END_STREAM */
void call_on_close(struct auditstore_stream *s, uint32_t http2_error);
void call_on_goaway(struct auditstore_stream *s);

/* auditstore_stream_send() of a message that is packed already, in parts; never compressed. */
enum auditstore_stream_result stream_send_packed(struct auditstore_stream *s,
                                                 const struct str *parts, size_t count,
                                                 int timeout_ms);

/* Waits until it has ended. */
void stream_wait_end(struct auditstore_stream *s);

/* A unary call that hasn't begun, and, when it has ended, its answer; NULL: s->status says why. */
struct auditstore_stream *unary_new(struct auditstore_channel *c,
                                    const struct auditstore_unary *call,
                                    struct auditstore_status *status);
ProtobufCMessage *unary_take_answer(struct auditstore_stream *s);

/* ---- status ---- */

void status_set(struct auditstore_status *status, enum auditstore_code code, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

/* Moves what `from` owns. `to` may be NULL: then it is freed. */
enum auditstore_code status_move(struct auditstore_status *from, struct auditstore_status *to);

void status_take_header(struct auditstore_status *status, struct str name, struct str value);

/* Codes for ends that carry no grpc-status (gRPC's http-grpc-status-mapping and HTTP/2 mapping). */
enum auditstore_code code_of_http_status(int http_status);
enum auditstore_code code_of_http2_error(uint32_t http2_error);
