/* From no link to a link: names, sockets, retries. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* With wait_for_ready: between attempts, growing, with a random part so that many clients of one
 * server don't come back in step. */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS   1000

static int wait_connected(int fd, int64_t deadline_us) {
  struct pollfd pfd = {.fd = fd, .events = POLLOUT};
  for (;;) {
    int64_t left_us = deadline_us - monotonic_us();
    int ready = left_us <= 0 ? 0 : poll(&pfd, 1, (int)(left_us / 1000 + 1));
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready == 0)
      return ETIMEDOUT;
    if (ready < 0)
      return errno;
    break;
  }
  int error = 0;
  socklen_t len = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
  return error;
}

/* Returns the socket, or a negative errno. */
static int connect_address(const struct addrinfo *address, int64_t deadline_us) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  int error = 0;
  if (connect(fd, address->ai_addr, address->ai_addrlen) != 0)
    error = errno == EINPROGRESS ? wait_connected(fd, deadline_us) : errno;
  if (error) {
    close(fd);
    return -error;
  }
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

/* Tries each address of the host. Runs without the lock. */
static int connect_host(const struct auditstore_channel *c, int64_t deadline_us, char *ret_reason,
                        size_t size) {
  const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *addresses = NULL;
  int rc = getaddrinfo(c->host, c->port, &hints, &addresses);
  if (rc != 0) {
    snprintf(ret_reason, size, "can't resolve %s: %s", c->host, gai_strerror(rc));
    return -1;
  }
  int fd = -ECONNREFUSED;
  for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
    fd = connect_address(a, deadline_us);
  freeaddrinfo(addresses);
  char text[128];
  if (fd < 0)
    snprintf(ret_reason, size, "can't connect to %s: %s", c->authority,
             strerror_r(-fd, text, sizeof(text)));
  return fd;
}

static bool attempt(struct auditstore_channel *c, int64_t deadline_us, char *reason, size_t size) {
  int64_t own = monotonic_us() + (int64_t)c->connect_timeout_ms * 1000;
  c->state = LINK_CONNECTING;
  pthread_mutex_unlock(&c->lock);
  int fd = connect_host(c, own < deadline_us ? own : deadline_us, reason, size);
  pthread_mutex_lock(&c->lock);
  c->state = LINK_DOWN;
  if (fd >= 0) {
    c->fd = fd;
    c->state = LINK_UP;
    if (session_open(c) < 0) {
      snprintf(reason, size, "out of memory");
      channel_drop_link(c, reason);
    }
  }
  pthread_cond_broadcast(&c->news);
  return c->state == LINK_UP;
}

/* Whether the link is there and the server, as far as is known now, is too. */
static bool link_is_usable(struct auditstore_channel *c) {
  if (c->state != LINK_UP)
    return false;
  /* A leader reads anyway; else look whether the server closed while nobody did. */
  char byte;
  if (!c->has_leader) {
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      channel_drop_link(c, "connection lost");
      return false;
    }
    if (n > 0)
      channel_wait(c, monotonic_us());
  }
  if (c->state == LINK_UP && c->is_going_away && c->calls.count == 0)
    channel_drop_link(c, "server is going away");
  return c->state == LINK_UP && !c->is_going_away &&
         nghttp2_session_check_request_allowed(c->session);
}

static int64_t jittered_us(int ms, const struct auditstore_channel *c) {
  uint64_t noise = (uint64_t)monotonic_us() * 2654435761u ^ (uint64_t)(uintptr_t)c;
  return (int64_t)ms * 500 + (int64_t)(noise % ((uint64_t)ms * 500 + 1));
}

static void pause_between(struct auditstore_channel *c, int ms, int64_t deadline_us) {
  int64_t until = monotonic_us() + jittered_us(ms, c);
  until = until < deadline_us ? until : deadline_us;
  while (monotonic_us() < until && c->state != LINK_UP)
    channel_sleep(c, until);
}

enum auditstore_code channel_connect(struct auditstore_channel *c, int64_t deadline_us,
                                     bool wait_for_ready, struct auditstore_status *ret_status) {
  char reason[256] = "no attempt was made";
  for (int pause_ms = RETRY_FIRST_MS;;) {
    if (link_is_usable(c))
      return AUDITSTORE_OK;
    if (monotonic_us() >= deadline_us) {
      status_set(ret_status, AUDITSTORE_DEADLINE_EXCEEDED, "deadline passed: %s", reason);
      return ret_status->code;
    }
    /* Calls of a link that goes away may end on it; then a new one is made. */
    if (c->state == LINK_UP) {
      channel_wait(c, deadline_us);
      continue;
    }
    if (c->state == LINK_CONNECTING) {
      channel_sleep(c, deadline_us);
      continue;
    }
    if (attempt(c, deadline_us, reason, sizeof(reason)))
      continue;
    if (!wait_for_ready) {
      status_set(ret_status, AUDITSTORE_UNAVAILABLE, "%s", reason);
      return ret_status->code;
    }
    pause_between(c, pause_ms, deadline_us);
    pause_ms = pause_ms * 2 < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
  }
}
