/* From no link to a link that takes calls: rounds of attempts at all addresses. */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* A server that vanished without a word is noticed after so long, not after the kernel's quarter of
 * an hour: while bytes of ours are on the way, and while we only wait. */
#define DEAD_AFTER_MS      60000
#define KEEPALIVE_IDLE_S   30
#define KEEPALIVE_PROBES   3
#define KEEPALIVE_PERIOD_S 7
/* Connections in a row on which nothing was answered, before they count as failures. */
#define MAX_FRUITLESS 3

/* ---- sockets ---- */

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

/* NULL: *reason. */
static struct link *begin_link(struct auditstore_channel *c, const struct address *a,
                               struct reason *reason) {
  const struct sockaddr *name = (const void *)&a->storage;
  char room[ERRNO_TEXT_BYTES];
  int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    reason_set(reason, "%s", errno_text(errno, room));
    return NULL;
  }
  if (a->storage.ss_family != AF_UNIX)
    set_options(fd);
  struct link *l = link_new(c, fd, a, reason);
  /* A full queue of a Unix socket says EAGAIN; then there is nothing to wait for. */
  if (!l || connect(fd, name, a->len) == 0 || errno == EINPROGRESS)
    return l;
  reason_set(reason, "%s", errno_text(errno, room));
  l->is_dead = true;
  channel_reap(c);
  return NULL;
}

/* ---- rounds ---- */

static void end_round(struct auditstore_channel *c) {
  c->dial.is_under_way = false;
  c->dial.link = NULL;
  address_list_deinit(&c->dial.addresses);
}

static void fail_round(struct auditstore_channel *c, enum auditstore_code code) {
  c->failure = c->dial.report;
  c->failure_code = code;
  end_round(c);
  backoff_fail(&c->backoff, monotonic_us(), &c->random);
  channel_set_state(c, AUDITSTORE_CHANNEL_TRANSIENT_FAILURE);
}

static void report_address(struct auditstore_channel *c, const struct address *a,
                           const char *reason) {
  const struct link *l = c->dial.link;
  if (l && l->phase == LINK_SHAKING)
    reason_add(&c->dial.report, "no TLS with %s: %s", a->text, reason);
  else if (l && l->phase == LINK_GREETING)
    reason_add(&c->dial.report, "no HTTP/2 at %s: %s", a->text, reason);
  else
    reason_add(&c->dial.report, "can't connect to %s: %s", a->text, reason);
}

/* A token goes to this machine only, or by TLS. */
static bool is_safe_for_token(struct auditstore_channel *c) {
  if (!c->token.path || c->tls)
    return true;
  for (size_t i = 0; i < c->dial.addresses.count; i++) {
    const struct address *a = &c->dial.addresses.entries[i];
    if (address_is_of_this_machine(a))
      continue;
    reason_set(&c->dial.report,
               "the token of \"%s\" isn't sent without TLS to %s, which isn't this machine",
               c->token.path, a->text);
    return false;
  }
  return true;
}

static void begin_round(struct auditstore_channel *c) {
  struct dial *d = &c->dial;
  d->is_under_way = true;
  d->is_resolving = true;
  d->report = (struct reason){0};
  channel_set_state(c, AUDITSTORE_CHANNEL_CONNECTING);
  struct address_list addresses = {0};
  struct reason report = {0};
  channel_tell_state(c); /* it may not last until the end of the program's call */
  pthread_mutex_unlock(&c->lock);
  address_list_resolve(&addresses, &c->targets, &report);
  pthread_mutex_lock(&c->lock);
  d->is_resolving = false;
  d->addresses = addresses;
  d->report = report;
  d->next = 0;
  d->budget_us = c->connect_timeout_us;
  channel_tell(c);
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
    end_round(c);
  else if (!is_safe_for_token(c))
    fail_round(c, AUDITSTORE_UNAUTHENTICATED);
}

/* Each address gets a fair part of the time left, or one that swallows packets would take all. Time
 * in which nobody drove the channel isn't counted. */
static void begin_next(struct auditstore_channel *c) {
  struct dial *d = &c->dial;
  while (!d->link && d->next < d->addresses.count) {
    const struct address *a = &d->addresses.entries[d->next];
    struct reason reason = {0};
    d->part_us = d->budget_us / (int64_t)(d->addresses.count - d->next);
    d->next++;
    d->link = begin_link(c, a, &reason);
    if (!d->link) {
      report_address(c, a, reason.text);
      continue;
    }
    d->began_us = monotonic_us();
    channel_due(c, dial_limit_us(c));
    channel_tell(c); /* a leader polls the new one too */
    link_receive(d->link);
  }
  if (!d->link && d->is_under_way)
    fail_round(c, AUDITSTORE_UNAVAILABLE);
}

/* ---- news of the link under way ---- */

void dial_on_lost(struct auditstore_channel *c, const char *reason) {
  struct dial *d = &c->dial;
  int64_t took_us = monotonic_us() - d->began_us;
  report_address(c, &d->addresses.entries[d->next - 1], reason);
  d->budget_us -= earlier(took_us, d->part_us);
  d->link = NULL;
}

void dial_on_ready(struct auditstore_channel *c) {
  c->dial.link->phase = LINK_READY;
  c->failure = (struct reason){0};
  end_round(c);
  backoff_reset(&c->backoff);
  channel_set_state(c, AUDITSTORE_CHANNEL_READY);
}

void dial_abandon(struct auditstore_channel *c) {
  struct link *l = c->dial.link;
  if (c->dial.is_resolving || !c->dial.is_under_way)
    return;
  end_round(c);
  if (l)
    link_drop(l, "given up");
}

int64_t dial_limit_us(const struct auditstore_channel *c) {
  return c->dial.link ? c->dial.began_us + c->dial.part_us : NEVER;
}

/* ---- what the channel needs ---- */

struct link *find_link(const struct auditstore_channel *c) {
  for (struct list_link *at = c->links.last; at; at = at->prev) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    /* Not after a GOAWAY, nor when the ids are used up. */
    if (l->phase == LINK_READY && !l->is_dead && nghttp2_session_check_request_allowed(l->session))
      return l;
  }
  return NULL;
}

void channel_settle(struct auditstore_channel *c) {
  if (c->state != AUDITSTORE_CHANNEL_READY || find_link(c))
    return;
  /* A server that takes connections and drops them is no better than one that takes none. */
  c->fruitless = c->is_fruitful ? 0 : c->fruitless + 1;
  c->is_fruitful = false;
  if (c->fruitless <= MAX_FRUITLESS) {
    channel_set_state(c, AUDITSTORE_CHANNEL_IDLE);
    return;
  }
  reason_set(&c->dial.report, "%d connections in a row ended before a call was answered",
             c->fruitless);
  fail_round(c, AUDITSTORE_UNAVAILABLE);
}

static bool wants_link(const struct auditstore_channel *c) {
  if (c->wanted > 0)
    return true;
  for (struct list_link *at = c->waiting.first; at; at = at->next)
    if (LIST_ENTRY(at, struct auditstore_stream, entry)->pause_until_us == 0)
      return true;
  return false;
}

static bool may_begin_round(const struct auditstore_channel *c) {
  if (c->dial.is_under_way || c->links.count >= MAX_LINKS)
    return false;
  return c->state == AUDITSTORE_CHANNEL_IDLE || (c->state == AUDITSTORE_CHANNEL_TRANSIENT_FAILURE &&
                                                 monotonic_us() >= c->backoff.until_us);
}

void dial_step(struct auditstore_channel *c) {
  if (may_begin_round(c) && wants_link(c))
    begin_round(c);
  if (c->dial.is_under_way && !c->dial.is_resolving && !c->dial.link)
    begin_next(c);
}
