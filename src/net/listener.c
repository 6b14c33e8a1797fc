#include "net/listener.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/accepted.h"

/* Accepted in one loop turn, so that a storm of connects doesn't hold up the open ones. */
#define ACCEPTS_PER_TURN 64
/* Out of descriptors: the queued connection can't be taken nor refused, and the socket stays
 * readable. Looking again at once would be a busy loop. */
#define EXHAUSTED_PAUSE_US 100000
/* Bytes the kernel holds unsent before the socket counts as full: what is still here can be put in
 * another order or be dropped. */
#define NOTSENT_LOWAT_BYTES (128 * 1024)
/* A peer that vanished is noticed after a minute of silence and three probes. */
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3

struct net_listener {
  struct loop *loop; /* borrowed */
  struct net_listener_options options;
  int fd; /* owned; -1 once closed */
  int port;
  uv_poll_t poll;
  struct loop_timer pause_timer;
  struct list conns; /* with an open socket */
  int open_handles;
  loop_task_cb *closed;
  void *closed_arg;
};

/* ---- accepting ---- */

static void set_option(int fd, int level, int name, int value) {
  /* Each is an improvement, none a condition: a kernel without one serves as well. */
  (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_conn_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static void take_conn(struct net_listener *l, int fd, const struct sockaddr_storage *peer) {
  if (l->conns.count >= (size_t)l->options.max_connections) {
    close(fd);
    return;
  }
  set_conn_options(fd);
  struct net_conn *conn = net_conn_new(l->loop, fd, peer, l->options.write_timeout_us, &l->conns);
  if (!conn)
    return;
  l->options.on_accept(l->options.user, conn);
  assert(net_conn_is_started(conn));
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void watch(struct net_listener *l) {
  uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void on_pause_over(void *arg) {
  watch((struct net_listener *)arg);
}

static void pause_accepting(struct net_listener *l) {
  uv_poll_stop(&l->poll);
  loop_timer_set(&l->pause_timer, clock_monotonic_us(l->loop->clock) + EXHAUSTED_PAUSE_US);
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct net_listener *l) {
  struct sockaddr_storage peer = {0};
  socklen_t len = sizeof(peer);
  int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    take_conn(l, fd, &peer);
    return true;
  }
  switch (errno) {
  case EAGAIN:
    return false;
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    pause_accepting(l);
    return false;
  default:
    return true; /* of that one connection, which is gone: see accept(2), "Error handling" */
  }
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
  struct net_listener *l = poll->data;
  (void)events;
  if (status < 0) {
    pause_accepting(l);
    return;
  }
  for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0; i++) {
    if (!accept_one(l))
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
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
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
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
  } bound = {.in6 = {0}};
  socklen_t len = sizeof(bound);
  if (getsockname(fd, &bound.any, &len) != 0)
    return 0;
  return ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
}

/* ---- life cycle ---- */

int net_listener_new(struct net_listener **ret_listener, struct loop *loop,
                     const struct net_listener_options *options, struct error *err) {
  int fd = -1;
  int rc = open_address(options->address, &fd, err);
  if (rc != 0)
    return rc;
  struct net_listener *l = xcalloc(1, sizeof(*l));
  rc = uv_poll_init(loop->uv, &l->poll, fd);
  if (rc != 0) {
    close(fd);
    free(l);
    return error_set(err, ERR_UNAVAILABLE, "can't listen on %s: %s", options->address,
                     uv_strerror(rc));
  }
  l->poll.data = l;
  l->loop = loop;
  l->options = *options;
  l->options.address = NULL;
  l->fd = fd;
  l->port = bound_port(fd);
  l->open_handles = 2;
  loop_timer_init(&l->pause_timer, loop, on_pause_over, l);
  watch(l);
  *ret_listener = l;
  return 0;
}

int net_listener_port(const struct net_listener *listener) {
  return listener->port;
}

static void release_handle(struct net_listener *l) {
  if (--l->open_handles > 0)
    return;
  net_conn_orphan_all(&l->conns);
  loop_task_cb *closed = l->closed;
  void *arg = l->closed_arg;
  free(l);
  if (closed)
    closed(arg);
}

static void on_poll_closed(uv_handle_t *handle) {
  release_handle((struct net_listener *)handle->data);
}

static void on_timer_closed(void *arg) {
  release_handle((struct net_listener *)arg);
}

void net_listener_close(struct net_listener *listener, loop_task_cb *closed, void *arg) {
  assert(listener->fd >= 0);
  listener->closed = closed;
  listener->closed_arg = arg;
  uv_poll_stop(&listener->poll);
  uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
  loop_timer_close(&listener->pause_timer, on_timer_closed, listener);
  close(listener->fd);
  listener->fd = -1;
}
