/* A channel's life, and how threads share one socket. */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CONNECT_TIMEOUT_MS 20000
#define DEFAULT_CALL_TIMEOUT_MS    30000
#define DEFAULT_MAX_MESSAGE_BYTES  (4u * 1024 * 1024)
#define READ_BYTES                 (64 * 1024)
/* One HTTP/2 session never queues more: calls bound what they hand over. */
#define MAX_LINK_OUT_BYTES (64u * 1024 * 1024)

/* ---- time ---- */

int64_t monotonic_us(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t timeout_to_deadline(int timeout_ms) {
  return timeout_ms < 0 ? NEVER : monotonic_us() + (int64_t)timeout_ms * 1000;
}

static int poll_timeout_ms(int64_t deadline_us) {
  if (deadline_us == NEVER)
    return -1;
  int64_t left = deadline_us - monotonic_us();
  if (left <= 0)
    return 0;
  return left > INT32_MAX ? INT32_MAX : (int)((left + 999) / 1000);
}

/* ---- news between threads ---- */

void channel_tell(struct auditstore_channel *c) {
  uint64_t one = 1;
  ssize_t n = c->has_leader ? write(c->wake_fd, &one, sizeof(one)) : 0;
  (void)n; /* full means that it will wake anyway */
  pthread_cond_broadcast(&c->news);
}

/* ---- life ---- */

/* "host:port" or "[address]:port". */
static bool parse_target(const char *target, char **ret_host, char **ret_port) {
  const char *colon = strrchr(target, ':');
  const char *host = target;
  size_t host_len = colon ? (size_t)(colon - target) : 0;
  if (!colon || host_len == 0 || colon[1] == '\0' ||
      strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5)
    return false;
  if (host[0] == '[' && host[host_len - 1] == ']') {
    host++;
    host_len -= 2;
  } else if (memchr(host, ':', host_len)) {
    return false;
  }
  if (host_len == 0)
    return false;
  *ret_host = strndup(host, host_len);
  *ret_port = strdup(colon + 1);
  return true;
}

static void channel_set_options(struct auditstore_channel *c,
                                const struct auditstore_channel_options *options) {
  static const struct auditstore_channel_options none = {0};
  const struct auditstore_channel_options *o = options ? options : &none;
  c->connect_timeout_ms =
      o->connect_timeout_ms > 0 ? o->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
  c->default_timeout_ms =
      o->default_timeout_ms > 0 ? o->default_timeout_ms : DEFAULT_CALL_TIMEOUT_MS;
  c->max_message_bytes = o->max_message_bytes ? o->max_message_bytes : DEFAULT_MAX_MESSAGE_BYTES;
  if (asprintf(&c->user_agent, "%s%sauditstore-c/" AUDITSTORE_VERSION,
               o->user_agent ? o->user_agent : "", o->user_agent ? " " : "") < 0)
    c->user_agent = NULL;
}

static void channel_init_sync(struct auditstore_channel *c) {
  pthread_condattr_t attributes;
  pthread_mutex_init(&c->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&c->news, &attributes);
  pthread_condattr_destroy(&attributes);
}

struct auditstore_channel *
auditstore_channel_new(const char *target, const struct auditstore_channel_options *options) {
  struct auditstore_channel *c = calloc(1, sizeof(*c));
  if (!c)
    return NULL;
  c->fd = -1;
  channel_init_sync(c);
  c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool ok = target && parse_target(target, &c->host, &c->port);
  c->authority = ok ? strdup(target) : NULL;
  channel_set_options(c, options);
  buf_init(&c->out, MAX_LINK_OUT_BYTES);
  if (c->wake_fd >= 0 && c->host && c->port && c->authority && c->user_agent)
    return c;
  auditstore_channel_free(c);
  return NULL;
}

void auditstore_channel_free(struct auditstore_channel *c) {
  if (!c)
    return;
  channel_drop_link(c, "channel freed");
  pthread_cond_destroy(&c->news);
  pthread_mutex_destroy(&c->lock);
  buf_deinit(&c->out);
  if (c->wake_fd >= 0)
    close(c->wake_fd);
  free(c->host);
  free(c->port);
  free(c->authority);
  free(c->user_agent);
  free(c);
}

void channel_drop_link(struct auditstore_channel *c, const char *reason) {
  while (c->calls.first) {
    struct auditstore_stream *s = LIST_ENTRY(c->calls.first, struct auditstore_stream, link);
    call_end(s, AUDITSTORE_UNAVAILABLE, reason);
  }
  nghttp2_session_del(c->session);
  c->session = NULL;
  if (c->fd >= 0)
    close(c->fd);
  c->fd = -1;
  if (c->state == LINK_UP)
    c->state = LINK_DOWN;
  c->is_going_away = false;
  buf_clear(&c->out);
  channel_tell(c);
}

/* ---- I/O ---- */

/* Returns whether the link still stands. */
static bool write_out(struct auditstore_channel *c) {
  while (buf_len(&c->out) > 0) {
    ssize_t n = send(c->fd, buf_bytes(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return true;
    if (n < 0) {
      channel_drop_link(c, "connection lost while sending");
      return false;
    }
    buf_consume(&c->out, (size_t)n);
  }
  return true;
}

void channel_flush(struct auditstore_channel *c) {
  while (c->state == LINK_UP) {
    size_t before = buf_len(&c->out);
    if (session_produce(c) < 0) {
      channel_drop_link(c, "HTTP/2 error");
      return;
    }
    if (buf_len(&c->out) == 0)
      return;
    if (!write_out(c))
      return;
    if (buf_len(&c->out) > 0) {
      if (before == 0)
        channel_tell(c);
      return;
    }
  }
}

static void read_in(struct auditstore_channel *c) {
  uint8_t data[READ_BYTES];
  /* Bounded, so that one loud peer doesn't keep the lock for ever. */
  for (int i = 0; i < 16 && c->state == LINK_UP; i++) {
    ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return;
    if (n <= 0) {
      channel_drop_link(c, "connection lost");
      return;
    }
    if (session_receive(c, data, (size_t)n) < 0) {
      channel_drop_link(c, "HTTP/2 protocol error of the server");
      return;
    }
    if ((size_t)n < sizeof(data))
      return;
  }
}

static void drain_wake_fd(struct auditstore_channel *c) {
  uint64_t count;
  ssize_t n = read(c->wake_fd, &count, sizeof(count));
  (void)n;
}

static void lead(struct auditstore_channel *c, int64_t deadline_us) {
  struct pollfd fds[2] = {
      {.fd = c->fd, .events = (short)(POLLIN | (buf_len(&c->out) > 0 ? POLLOUT : 0))},
      {.fd = c->wake_fd, .events = POLLIN},
  };
  c->has_leader = true;
  pthread_mutex_unlock(&c->lock);
  int ready = poll(fds, 2, poll_timeout_ms(deadline_us));
  pthread_mutex_lock(&c->lock);
  c->has_leader = false;
  if (ready > 0 && fds[1].revents)
    drain_wake_fd(c);
  if (ready > 0 && fds[0].revents && c->state == LINK_UP && c->fd == fds[0].fd)
    read_in(c);
  channel_flush(c);
  pthread_cond_broadcast(&c->news);
}

void channel_sleep(struct auditstore_channel *c, int64_t deadline_us) {
  if (deadline_us == NEVER) {
    pthread_cond_wait(&c->news, &c->lock);
    return;
  }
  struct timespec until = {.tv_sec = deadline_us / 1000000,
                           .tv_nsec = deadline_us % 1000000 * 1000};
  pthread_cond_timedwait(&c->news, &c->lock, &until);
}

void channel_wait(struct auditstore_channel *c, int64_t deadline_us) {
  channel_flush(c);
  if (c->state != LINK_UP) /* everything on it has ended: the caller looks again */
    return;
  if (c->has_leader)
    channel_sleep(c, deadline_us);
  else
    lead(c, deadline_us);
}
