#include "base/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"

/* Accepted in one loop turn, so that a storm of connects doesn't hold up the open ones. With 64 a
 * writer beside one had 98 calls a second and a p99 of 53 ms, with 8 it has 113 and 36 ms (medians
 * of five of `./dev bench abuse connects`); 500 connections made at once take as long either way.
 */
#define ACCEPTS_PER_TURN 8
/* Out of descriptors: the queued connection can't be taken nor refused, and the socket stays
 * readable. Looking again at once would be a busy loop. */
#define EXHAUSTED_PAUSE_US 100000
/* It is logged at once, then so often while it goes on. */
#define LOG_EVERY_US (60LL * 1000 * 1000)

struct acceptor {
  struct loop *loop; /* borrowed */
  acceptor_cb *on_accept;
  void *arg;
  int fd; /* owned; -1 once closed */
  int port;
  uv_poll_t poll;
  struct loop_timer pause_timer;
  int64_t exhausted;    /* how often the system had nothing left for a connection */
  int64_t log_again_us; /* not before */
  int open_handles;
  loop_task_cb *closed;
  void *closed_arg;
};

/* ---- accepting ---- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void watch(struct acceptor *a) {
  uv_poll_start(&a->poll, UV_READABLE, on_acceptable);
}

static void on_pause_over(void *arg) {
  watch(arg);
}

static void pause_accepting(struct acceptor *a) {
  uv_poll_stop(&a->poll);
  loop_timer_set(&a->pause_timer, clock_monotonic_us(a->loop->clock) + EXHAUSTED_PAUSE_US);
}

/* accept4() takes the descriptor before it looks at the queue: without one it fails even when there
 * is nobody to take. */
static bool is_anybody_waiting(const struct acceptor *a) {
  struct pollfd queue = {.fd = a->fd, .events = POLLIN};
  return poll(&queue, 1, 0) != 0;
}

/* `error`: errno of the accept that failed. */
static void note_exhausted(struct acceptor *a, int error) {
  int64_t now_us = clock_monotonic_us(a->loop->clock);
  a->exhausted++;
  if (now_us < a->log_again_us)
    return;
  a->log_again_us = now_us + LOG_EVERY_US;
  log_warn("connections wait: the system has nothing left for them", KV("port", a->port),
           KV("error", strerror(error)), KV("times", a->exhausted),
           KV("advice", "raise the limit of open files, of the daemon or of the system"));
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct acceptor *a) {
  union acceptor_address peer = {.storage = {0}};
  socklen_t len = sizeof(peer);
  int fd = accept4(a->fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    a->on_accept(a->arg, fd, &peer);
    return true;
  }
  int error = errno;
  switch (error) {
  case EAGAIN:
    return false;
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    if (!is_anybody_waiting(a))
      return false;
    note_exhausted(a, error);
    pause_accepting(a);
    return false;
  default:
    return true; /* of that one connection, which is gone: see accept(2), "Error handling" */
  }
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
  struct acceptor *a = poll->data;
  (void)events;
  if (status < 0) {
    pause_accepting(a);
    return;
  }
  for (int i = 0; i < ACCEPTS_PER_TURN && a->fd >= 0; i++) {
    if (!accept_one(a))
      return;
  }
}

/* ---- binding ---- */

/* Splits "host:port" and "[host]:port" into two texts. */
static int split_address(const char *address, char ret_host[256], char ret_port[6],
                         struct error *err) {
  const char *colon = strrchr(address, ':');
  const char *host = address;
  size_t host_len = colon ? (size_t)(colon - address) : 0;
  if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
    host++;
    host_len -= 2;
  } else if (memchr(host, ':', host_len)) {
    host_len = 0;
  }
  size_t port_len = colon ? strlen(colon + 1) : 0;
  bool is_port = port_len > 0 && port_len <= 5 && strspn(colon + 1, "0123456789") == port_len &&
                 strtol(colon + 1, NULL, 10) <= UINT16_MAX;
  if (!is_port || host_len == 0 || host_len > 255)
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "\"%s\" isn't an address to listen on: it must be host:port or [IPv6]:port",
                     address);
  memcpy(ret_host, host, host_len);
  ret_host[host_len] = '\0';
  memcpy(ret_port, colon + 1, port_len + 1);
  return 0;
}

/* The listening socket, or -1 with errno. */
static int open_socket(const struct addrinfo *info) {
  int fd =
      socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info->ai_protocol);
  if (fd < 0)
    return -1;
  int on = 1;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
    return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

/* The first of the host's addresses that can be bound. */
static int open_address(const char *address, int *ret_fd, struct error *err) {
  char host[256];
  char port[6];
  int rc = split_address(address, host, port, err);
  if (rc != 0)
    return rc;
  const struct addrinfo hints = {
      .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *infos = NULL;
  rc = getaddrinfo(host, port, &hints, &infos);
  if (rc != 0)
    return error_set(err, ERR_UNAVAILABLE, "can't listen on %s: %s", address, gai_strerror(rc));
  int fd = -1;
  for (const struct addrinfo *info = infos; info && fd < 0; info = info->ai_next)
    fd = open_socket(info);
  int saved = errno;
  freeaddrinfo(infos);
  if (fd < 0)
    return error_set(err, ERR_UNAVAILABLE, "can't listen on %s: %s", address, strerror(saved));
  *ret_fd = fd;
  return 0;
}

static int bound_port(int fd) {
  union acceptor_address bound = {.storage = {0}};
  socklen_t len = sizeof(bound);
  if (getsockname(fd, &bound.any, &len) != 0)
    return 0;
  return ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
}

/* ---- life cycle ---- */

int acceptor_new(struct acceptor **ret_acceptor, struct loop *loop,
                 const struct acceptor_options *options, struct error *err) {
  int fd = -1;
  int rc = open_address(options->address, &fd, err);
  if (rc != 0)
    return rc;
  struct acceptor *a = xcalloc(1, sizeof(*a));
  rc = uv_poll_init(loop->uv, &a->poll, fd);
  if (rc != 0) {
    close(fd);
    free(a);
    return error_set(err, ERR_UNAVAILABLE, "can't listen on %s: %s", options->address,
                     uv_strerror(rc));
  }
  a->poll.data = a;
  a->loop = loop;
  a->on_accept = options->on_accept;
  a->arg = options->arg;
  a->fd = fd;
  a->port = bound_port(fd);
  a->open_handles = 2;
  loop_timer_init(&a->pause_timer, loop, on_pause_over, a);
  watch(a);
  *ret_acceptor = a;
  return 0;
}

int acceptor_port(const struct acceptor *acceptor) {
  return acceptor->port;
}

int64_t acceptor_exhausted(const struct acceptor *acceptor) {
  return acceptor->exhausted;
}

static void release_handle(struct acceptor *a) {
  if (--a->open_handles > 0)
    return;
  loop_task_cb *closed = a->closed;
  void *arg = a->closed_arg;
  free(a);
  if (closed)
    closed(arg);
}

static void on_poll_closed(uv_handle_t *handle) {
  release_handle((struct acceptor *)handle->data);
}

static void on_timer_closed(void *arg) {
  release_handle(arg);
}

void acceptor_close(struct acceptor *acceptor, loop_task_cb *closed, void *arg) {
  assert(acceptor->fd >= 0);
  acceptor->closed = closed;
  acceptor->closed_arg = arg;
  uv_poll_stop(&acceptor->poll);
  uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
  loop_timer_close(&acceptor->pause_timer, on_timer_closed, acceptor);
  close(acceptor->fd);
  acceptor->fd = -1;
}
