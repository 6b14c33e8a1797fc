/* How threads share a channel's sockets: one of those that wait polls for all. */
#include "internal.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

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

/* ---- news ---- */

void channel_tell(struct auditstore_channel *c) {
  uint64_t one = 1;
  ssize_t n = c->has_leader ? write(c->wake_fd, &one, sizeof(one)) : 0;
  (void)n; /* full means that it will wake anyway */
  pthread_cond_broadcast(&c->news);
}

static void drain_wake_fd(struct auditstore_channel *c) {
  uint64_t count;
  ssize_t n = read(c->wake_fd, &count, sizeof(count));
  (void)n;
}

static void follow(struct auditstore_channel *c, int64_t until_us) {
  if (until_us == NEVER) {
    pthread_cond_wait(&c->news, &c->lock);
    return;
  }
  struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
  pthread_cond_timedwait(&c->news, &c->lock, &until);
}

/* ---- the leader ---- */

struct polled {
  struct pollfd fds[1 + MAX_LINKS]; /* the first is the wake_fd */
  struct link *links[MAX_LINKS];    /* not freed while there is a leader */
  nfds_t count;
};

static void gather(const struct auditstore_channel *c, struct polled *p) {
  p->fds[0] = (struct pollfd){.fd = c->wake_fd, .events = POLLIN};
  p->count = 1;
  for (struct list_link *at = c->links.first; at; at = at->next) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    if (l->is_dead)
      continue;
    p->links[p->count - 1] = l;
    p->fds[p->count++] = (struct pollfd){
        .fd = l->fd, .events = (short)(POLLIN | (link_wants_to_write(l) ? POLLOUT : 0))};
  }
}

static void lead(struct auditstore_channel *c, int64_t until_us) {
  struct polled p;
  gather(c, &p);
  c->has_leader = true;
  pthread_mutex_unlock(&c->lock);
  int ready = poll(p.fds, p.count, poll_timeout_ms(until_us));
  pthread_mutex_lock(&c->lock);
  c->has_leader = false;
  if (ready > 0 && p.fds[0].revents)
    drain_wake_fd(c);
  for (nfds_t i = 1; ready > 0 && i < p.count; i++)
    if (p.fds[i].revents)
      link_receive(p.links[i - 1]);
  pthread_cond_broadcast(&c->news);
  channel_turn(c);
}

static bool has_live_link(const struct auditstore_channel *c) {
  for (const struct list_link *at = c->links.first; at; at = at->next)
    if (!LIST_ENTRY(at, struct link, entry)->is_dead)
      return true;
  return false;
}

void channel_wait(struct auditstore_channel *c, int64_t until_us) {
  unsigned changes = c->changes;
  channel_turn(c);
  if (c->changes == changes) {
    int64_t step_us = earlier(until_us, c->due_us);
    if (c->has_leader || !has_live_link(c))
      follow(c, step_us);
    else
      lead(c, step_us);
  }
  channel_tell_state(c);
}
