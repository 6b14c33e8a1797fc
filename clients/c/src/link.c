/* One connection: its bytes in and out, its end. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One HTTP/2 session never queues more: frames are gathered only while little waits. */
#define MAX_LINK_OUT_BYTES (1024u * 1024)
/* Bounds one turn of reading, so that a loud server doesn't keep the lock for ever. */
#define READS_PER_TURN 16

struct link *link_new(struct auditstore_channel *c, int fd) {
  struct link *l = malloc(sizeof(*l));
  if (!l) {
    close(fd);
    return NULL;
  }
  *l = (struct link){.channel = c, .fd = fd};
  buf_init(&l->out, MAX_LINK_OUT_BYTES);
  list_push_back(&c->links, &l->entry);
  if (session_open(l) == 0)
    return l;
  link_drop(l, "out of memory");
  channel_reap(c);
  return NULL;
}

static void link_free(struct link *l) {
  nghttp2_session_del(l->session);
  close(l->fd);
  buf_deinit(&l->out);
  free(l);
}

void link_drop(struct link *l, const char *reason) {
  if (l->is_dead)
    return;
  l->is_dead = true;
  l->channel->drops++;
  while (l->calls.first) {
    struct auditstore_stream *s = LIST_ENTRY(l->calls.first, struct auditstore_stream, entry);
    s->may_retry = l->written <= s->sent_at;
    call_end(s, AUDITSTORE_UNAVAILABLE, reason);
  }
  /* Not closed yet: a leader may have it in its poll. */
  shutdown(l->fd, SHUT_RDWR);
  channel_tell(l->channel);
}

void channel_reap(struct auditstore_channel *c) {
  struct list_link *next;
  for (struct list_link *at = c->links.first; at; at = next) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    next = at->next;
    if (!l->is_dead || l->is_kept || c->has_leader)
      continue;
    list_remove(&c->links, &l->entry);
    link_free(l);
  }
}

/* ---- in ---- */

bool link_receive(struct link *l) {
  bool came = false;
  for (int i = 0; i < READS_PER_TURN && !l->is_dead; i++) {
    ssize_t n = recv(l->fd, l->in, sizeof(l->in), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      break;
    came = true;
    if (n <= 0)
      link_drop(l, "connection lost");
    else if (session_receive(l, l->in, (size_t)n) < 0)
      link_drop(l, "HTTP/2 error of the server");
  }
  return came;
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
    l->written += (size_t)n;
  }
}

void link_flush(struct link *l) {
  bool was_empty = buf_len(&l->out) == 0;
  while (!l->is_dead) {
    if (session_produce(l) < 0)
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
  } else if (!nghttp2_session_want_read(l->session) && !nghttp2_session_want_write(l->session)) {
    /* The server broke the rules, or it is going away and the last call has ended. */
    link_drop(l, "HTTP/2 error of the server");
  }
}
