/* From no link to a link: names, sockets, retries. */
#include "internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* With wait_for_ready: between attempts, growing, with a random part so that many clients of one
 * server don't come back in step. */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS   1000
/* A server that vanished without a word is noticed after so long, not after the kernel's quarter of
 * an hour: while bytes of ours are on the way, and while we only wait. */
#define DEAD_AFTER_MS      60000
#define KEEPALIVE_IDLE_S   30
#define KEEPALIVE_PROBES   3
#define KEEPALIVE_PERIOD_S 7

/* ---- sockets; all of it runs without the lock ---- */

static int wait_connected(int fd, int64_t deadline_us) {
  struct pollfd pfd = {.fd = fd, .events = POLLOUT};
  int ready = -1;
  do {
    int64_t left_us = deadline_us - monotonic_us();
    ready = left_us <= 0 ? 0 : poll(&pfd, 1, (int)(left_us / 1000 + 1));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0)
    return ready == 0 ? ETIMEDOUT : errno;
  int error = 0;
  socklen_t len = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
  return error;
}

static void set_options(int fd) {
  const struct {
    int level, name, value;
  } options[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_AFTER_MS},
      {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
      {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
      {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_PERIOD_S},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
  };
  for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
    setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* Returns the socket, or a negative errno. */
static int connect_address(const struct addrinfo *address, int64_t deadline_us) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  set_options(fd);
  int error = 0;
  if (connect(fd, address->ai_addr, address->ai_addrlen) != 0)
    error = errno == EINPROGRESS ? wait_connected(fd, deadline_us) : errno;
  if (error) {
    close(fd);
    return -error;
  }
  return fd;
}

/* Each address gets a fair part of the time left, or one that swallows packets would take all. */
static int connect_addresses(const struct addrinfo *addresses, int64_t deadline_us) {
  int fd = -EADDRNOTAVAIL;
  int64_t left = 0;
  for (const struct addrinfo *a = addresses; a; a = a->ai_next)
    left++;
  for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next, left--) {
    int64_t now = monotonic_us();
    fd = connect_address(a, now + (deadline_us - now) / left);
  }
  return fd;
}

/* Returns the socket, or a negative number with *ret_reason. */
static int connect_host(const struct auditstore_channel *c, int64_t deadline_us,
                        char ret_reason[REASON_BYTES]) {
  const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *addresses = NULL;
  int rc = getaddrinfo(c->host, c->port, &hints, &addresses);
  if (rc != 0) {
    snprintf(ret_reason, REASON_BYTES, "can't resolve %s: %s", c->host, gai_strerror(rc));
    return -1;
  }
  int fd = connect_addresses(addresses, deadline_us);
  freeaddrinfo(addresses);
  char text[128];
  if (fd < 0)
    snprintf(ret_reason, REASON_BYTES, "can't connect to %s: %s", c->authority,
             strerror_r(-fd, text, sizeof(text)));
  return fd;
}

/* ---- attempts ---- */

/* The server's SETTINGS come first: they show that it is there, speaks HTTP/2, and how many calls
 * it takes at once. */
static bool wait_ready(struct link *l, int64_t deadline_us) {
  while (!l->is_ready && !l->is_dead && monotonic_us() < deadline_us)
    channel_wait(l->channel, deadline_us);
  return l->is_ready && !l->is_dead;
}

static bool greet(struct auditstore_channel *c, int fd, int64_t deadline_us) {
  struct link *l = link_new(c, fd);
  if (!l) {
    snprintf(c->failure, REASON_BYTES, "out of memory");
    return false;
  }
  l->is_kept = true;
  channel_tell(c); /* a leader polls the new one too */
  bool ok = wait_ready(l, deadline_us);
  l->is_kept = false;
  if (ok)
    return true;
  snprintf(c->failure, REASON_BYTES, "no HTTP/2 at %s: %s", c->authority,
           l->is_dead ? "the connection ended before the server's settings"
                      : "the server's settings didn't come in time");
  link_drop(l, c->failure);
  channel_reap(c);
  return false;
}

static void attempt(struct auditstore_channel *c, int64_t deadline_us) {
  int64_t limit_us = monotonic_us() + (int64_t)c->connect_timeout_ms * 1000;
  bool is_cut_short = deadline_us < limit_us;
  char reason[REASON_BYTES] = "";
  c->is_connecting = true;
  pthread_mutex_unlock(&c->lock);
  int fd = connect_host(c, is_cut_short ? deadline_us : limit_us, reason);
  pthread_mutex_lock(&c->lock);
  bool ok = false;
  if (fd >= 0)
    ok = greet(c, fd, is_cut_short ? deadline_us : limit_us);
  else
    memcpy(c->failure, reason, sizeof(reason));
  c->is_connecting = false;
  if (ok)
    c->failure[0] = '\0';
  else if (!is_cut_short || monotonic_us() < deadline_us)
    c->failures++; /* but one caller's short deadline says nothing to the others */
  channel_tell(c);
}

/* ---- the link for a call ---- */

static bool takes_calls(const struct link *l) {
  /* Not after a GOAWAY, nor when the ids are used up. */
  return l->is_ready && !l->is_dead && nghttp2_session_check_request_allowed(l->session);
}

static struct link *find_link(const struct auditstore_channel *c) {
  for (struct list_link *at = c->links.last; at; at = at->prev) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    if (takes_calls(l))
      return l;
  }
  return NULL;
}

/* What the server said while nobody looked comes first: it may have closed. */
static struct link *find_link_now(struct auditstore_channel *c) {
  struct link *l = find_link(c);
  if (!l)
    return NULL;
  if (link_receive(l))
    channel_tell(c); /* some of it may be for others */
  channel_flush(c);
  channel_reap(c);
  return find_link(c);
}

static int64_t jittered_us(int ms, const struct auditstore_channel *c) {
  uint64_t noise = (uint64_t)monotonic_us() * 2654435761u ^ (uint64_t)(uintptr_t)c;
  return (int64_t)ms * 500 + (int64_t)(noise % ((uint64_t)ms * 500 + 1));
}

static void pause_between(struct auditstore_channel *c, int ms, int64_t deadline_us) {
  int64_t until = monotonic_us() + jittered_us(ms, c);
  until = until < deadline_us ? until : deadline_us;
  while (monotonic_us() < until && !find_link(c))
    channel_sleep(c, until);
}

enum auditstore_code channel_connect(struct auditstore_channel *c, int64_t deadline_us,
                                     bool wait_for_ready, struct link **ret_link,
                                     struct auditstore_status *ret_status) {
  int pause_ms = RETRY_FIRST_MS;
  unsigned failures = c->failures;
  while (!(*ret_link = find_link_now(c))) {
    if (monotonic_us() >= deadline_us) {
      status_set(ret_status, AUDITSTORE_DEADLINE_EXCEEDED,
                 "deadline passed before the call began%s%s", c->failure[0] ? ": " : "",
                 c->failure);
      return ret_status->code;
    }
    if (c->failures == failures) {
      if (c->is_connecting || c->links.count == MAX_LINKS)
        channel_wait(c, deadline_us);
      else
        attempt(c, deadline_us);
      continue;
    }
    /* An attempt has failed, this thread's or the one it waited for. */
    failures = c->failures;
    if (!wait_for_ready) {
      status_set(ret_status, AUDITSTORE_UNAVAILABLE, "%s", c->failure);
      return ret_status->code;
    }
    pause_between(c, pause_ms, deadline_us);
    pause_ms = pause_ms * 2 < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
  }
  return AUDITSTORE_OK;
}
