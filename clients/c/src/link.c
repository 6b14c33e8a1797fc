/* One connection: its bytes in and out, its end. */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One HTTP/2 session never queues more: frames are gathered only while little waits. */
#define MAX_LINK_OUT_BYTES (1024u * 1024)
/* Bounds one turn of reading, so that a loud server doesn't keep the lock for ever. */
#define READS_PER_TURN 16

struct link *link_new(struct auditstore_channel *c, int fd, const struct address *address,
                      struct reason *reason) {
  struct link *l = malloc(sizeof(*l));
  if (!l) {
    close(fd);
    reason_set(reason, "out of memory");
    return NULL;
  }
  *l = (struct link){.channel = c, .fd = fd, .target = address->target};
  buf_init(&l->plain, MAX_LINK_OUT_BYTES);
  buf_init(&l->out, MAX_LINK_OUT_BYTES);
  list_push_back(&c->links, &l->entry);
  if (!c->tls || (l->tls = tls_new(c->tls, address->target->host, &l->out, reason)))
    return l;
  l->is_dead = true;
  channel_reap(c);
  return NULL;
}

static void link_free(struct link *l) {
  nghttp2_session_del(l->session);
  tls_free(l->tls);
  close(l->fd);
  buf_deinit(&l->plain);
  buf_deinit(&l->out);
  free(l);
}

static void end_calls(struct link *l, const char *reason) {
  while (l->calls.first) {
    struct auditstore_stream *s = LIST_ENTRY(l->calls.first, struct auditstore_stream, entry);
    bool is_untouched = l->written <= s->sent_at;
    status_set(&s->status, AUDITSTORE_UNAVAILABLE, "%s: %s", l->target->authority, reason);
    call_attempt_over(s, is_untouched);
  }
}

void link_drop(struct link *l, const char *reason) {
  struct auditstore_channel *c = l->channel;
  if (l->is_dead)
    return;
  l->is_dead = true;
  c->changes++;
  if (c->dial.link == l)
    dial_on_lost(c, reason);
  end_calls(l, reason);
  /* Not closed yet: a leader may have it in its poll. */
  shutdown(l->fd, SHUT_RDWR);
  channel_settle(c);
  loop_watch(l);
  loop_wake(c);
  channel_tell(c);
}

void channel_reap(struct auditstore_channel *c) {
  struct list_link *next;
  for (struct list_link *at = c->links.first; at; at = next) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    next = at->next;
    if (!l->is_dead || c->has_leader)
      continue;
    list_remove(&c->links, &l->entry);
    link_free(l);
  }
}

/* ---- becoming ready ---- */

static void drop_errno(struct link *l, const char *what, int error) {
  char room[ERRNO_TEXT_BYTES];
  struct reason reason;
  reason_set(&reason, "%s%s", what, errno_text(error, room));
  link_drop(l, reason.text);
}

static void greet(struct link *l) {
  l->phase = LINK_GREETING;
  if (session_open(l) != 0)
    link_drop(l, "out of memory");
}

/* What is left to say, as far as the socket takes it at once; nobody will look at the outcome. */
static void send_last(struct link *l) {
  ssize_t n = send(l->fd, buf_bytes(&l->out), buf_len(&l->out), MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)n;
}

static void shake(struct link *l) {
  struct reason reason = {0};
  switch (tls_shake(l->tls, &reason)) {
  case TLS_DONE:
    greet(l);
    break;
  case TLS_MORE:
    break;
  default:
    /* An alert of ours tells the server's log why. */
    send_last(l);
    link_drop(l, reason.text);
  }
}

/* Looks whether the socket has connected. */
static void connected(struct link *l) {
  struct pollfd pfd = {.fd = l->fd, .events = POLLOUT};
  int error = 0;
  socklen_t len = sizeof(error);
  if (poll(&pfd, 1, 0) <= 0)
    return;
  getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error) {
    drop_errno(l, "", error);
  } else if (l->tls) {
    l->phase = LINK_SHAKING;
    shake(l);
  } else {
    greet(l);
  }
}

void link_close(struct link *l) {
  if (l->is_dead)
    return;
  if (l->tls)
    tls_close(l->tls);
  send_last(l);
  link_drop(l, "closed");
}

/* ---- in ---- */

static void take_plain(struct link *l, const uint8_t *data, size_t len) {
  if (session_receive(l, data, len) < 0)
    link_drop(l, "HTTP/2 error of the server");
}

static void take_encrypted(struct link *l, const uint8_t *data, size_t len) {
  struct reason reason = {0};
  tls_feed(l->tls, data, len);
  if (l->phase == LINK_SHAKING)
    shake(l);
  while (!l->is_dead && l->phase != LINK_SHAKING) {
    const uint8_t *plain = NULL;
    size_t plain_len = 0;
    enum tls_result result = tls_read(l->tls, &plain, &plain_len, &reason);
    if (result == TLS_DONE)
      take_plain(l, plain, plain_len);
    else if (result == TLS_MORE)
      break;
    else
      link_drop(l, result == TLS_END ? "connection lost" : reason.text);
  }
}

static const char *end_reason(const struct link *l) {
  if (l->phase == LINK_SHAKING)
    return "the connection ended before the TLS handshake did";
  return l->phase == LINK_GREETING ? "the connection ended before the server's settings"
                                   : "connection lost";
}

static void receive(struct link *l) {
  if (l->phase == LINK_CONNECTING && !l->is_dead)
    connected(l);
  for (int i = 0; i < READS_PER_TURN && !l->is_dead && l->phase != LINK_CONNECTING; i++) {
    ssize_t n = recv(l->fd, l->in, sizeof(l->in), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      break;
    l->heard_us = monotonic_us();
    l->pinged_us = 0;
    if (n <= 0)
      link_drop(l, end_reason(l));
    else if (l->tls)
      take_encrypted(l, l->in, (size_t)n);
    else
      take_plain(l, l->in, (size_t)n);
  }
}

void link_receive(struct link *l) {
  int64_t before_us = l->heard_us;
  receive(l);
  if (l->heard_us == before_us)
    return;
  l->channel->changes++; /* it may be what the thread waits for that is in a turn right now */
  channel_tell(l->channel);
}

/* ---- out ---- */

/* Until the socket takes no more. */
static void link_write(struct link *l) {
  while (buf_len(&l->out) > 0) {
    ssize_t n = send(l->fd, buf_bytes(&l->out), buf_len(&l->out), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return;
    if (n < 0) {
      /* What the server said before it closed may still be there. */
      link_receive(l);
      link_drop(l, "connection lost");
      return;
    }
    buf_consume(&l->out, (size_t)n);
    /* Which frames a record holds isn't kept: all that were encrypted count as on their way. */
    l->written = l->tls ? l->produced : l->written + (size_t)n;
  }
}

/* Frames into `out`. Negative: the connection must be dropped. */
static int produce(struct link *l) {
  if (!l->session)
    return 0;
  if (!l->tls)
    return session_produce(l, &l->out);
  if (buf_len(&l->out) > 0)
    return 0; /* encrypted once the socket has taken what is there: whole records then */
  int rc = session_produce(l, &l->plain);
  return rc == 0 && tls_write(l->tls, &l->plain) ? 0 : -1;
}

static void flush(struct link *l) {
  if (l->is_dead || l->phase == LINK_CONNECTING)
    return;
  bool was_empty = buf_len(&l->out) == 0;
  while (!l->is_dead) {
    if (produce(l) < 0)
      link_drop(l, "HTTP/2 error, or out of memory");
    else if (buf_len(&l->out) == 0)
      break;
    else
      link_write(l);
    if (buf_len(&l->out) > 0)
      break;
  }
  if (l->is_dead)
    return;
  if (buf_len(&l->out) > 0) {
    if (was_empty)
      channel_tell(l->channel);
  } else if (l->session && !nghttp2_session_want_read(l->session) &&
             !nghttp2_session_want_write(l->session)) {
    /* The server broke the rules, or it is going away and the last call has ended. */
    link_drop(l, "HTTP/2 error of the server");
  }
}

void link_flush(struct link *l) {
  flush(l);
  loop_watch(l);
}
