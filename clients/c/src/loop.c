#include "loop.h"
#include "internal.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* A turn may give rise to another one; one that goes on and on lets the program's loop in between.
 */
#define MAX_TURNS 16

static void close_fd(int *fd) {
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

void loop_init(struct loop *loop) {
  *loop = (struct loop){.epoll_fd = -1, .news_fd = -1, .timer_fd = -1, .armed_us = NEVER};
}

void loop_deinit(struct loop *loop) {
  close_fd(&loop->epoll_fd);
  close_fd(&loop->news_fd);
  close_fd(&loop->timer_fd);
}

/* ---- what it watches ---- */

static bool add(const struct loop *loop, int fd) {
  struct epoll_event event = {.events = EPOLLIN};
  return fd >= 0 && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_loop(struct loop *loop) {
  loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  loop->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (loop->epoll_fd >= 0 && add(loop, loop->news_fd) && add(loop, loop->timer_fd))
    return true;
  loop_deinit(loop);
  return false;
}

void loop_watch(struct link *l) {
  const struct loop *loop = &l->channel->loop;
  if (loop->epoll_fd < 0)
    return;
  uint32_t events = l->is_dead ? 0 : EPOLLIN | (link_wants_to_write(l) ? EPOLLOUT : 0u);
  if (events == l->watched)
    return;
  struct epoll_event event = {.events = events};
  int command = events == 0 ? EPOLL_CTL_DEL : l->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(loop->epoll_fd, command, l->fd, &event) == 0)
    l->watched = events;
}

void loop_wake(struct auditstore_channel *c) {
  struct loop *loop = &c->loop;
  const uint64_t one = 1;
  if (loop->epoll_fd < 0 || loop->has_news || loop->is_dispatching)
    return;
  loop->has_news = write(loop->news_fd, &one, sizeof(one)) == sizeof(one);
}

void loop_arm(struct auditstore_channel *c) {
  struct loop *loop = &c->loop;
  if (loop->epoll_fd < 0 || loop->armed_us == c->due_us)
    return;
  struct itimerspec at = {0};
  if (c->due_us != NEVER) {
    at.it_value.tv_sec = c->due_us / 1000000;
    at.it_value.tv_nsec = c->due_us % 1000000 * 1000 + 1; /* zero would mean never */
  }
  if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0)
    loop->armed_us = c->due_us;
}

int auditstore_channel_fd(struct auditstore_channel *c) {
  pthread_mutex_lock(&c->lock);
  if (c->loop.epoll_fd < 0 && open_loop(&c->loop)) {
    for (struct list_link *at = c->links.first; at; at = at->next)
      loop_watch(LIST_ENTRY(at, struct link, entry));
    loop_wake(c); /* for what may have been left to do before */
  }
  int fd = c->loop.epoll_fd;
  channel_leave(c);
  return fd;
}

/* ---- dispatching ---- */

static void drain(struct loop *loop) {
  uint64_t count;
  ssize_t n = loop->has_news ? read(loop->news_fd, &count, sizeof(count)) : 0;
  loop->has_news = false;
  if (loop->epoll_fd >= 0 && loop->armed_us <= monotonic_us()) {
    n = read(loop->timer_fd, &count, sizeof(count));
    loop->armed_us = NEVER; /* it has gone off, or will do so in vain */
  }
  (void)n;
}

void loop_add_done(struct auditstore_stream *s) {
  list_push_back(&s->channel->done, &s->entry);
  loop_wake(s->channel);
}

/* Returns whether there is more to do. */
static bool turn_until_still(struct auditstore_channel *c) {
  unsigned changes = c->changes;
  for (int i = 0; i < MAX_TURNS; i++) {
    channel_turn(c);
    if (c->changes == changes)
      return false;
    changes = c->changes;
  }
  return true;
}

static void report(struct list *done) {
  for (struct list_link *at; (at = list_pop_front(done));) {
    struct auditstore_stream *s = LIST_ENTRY(at, struct auditstore_stream, entry);
    ProtobufCMessage *response = unary_take_answer(s);
    cancellation_leave(s); /* which the program may free with the call's end */
    s->on_done(s->on_done_arg, response, &s->status);
    call_free(s);
  }
}

void auditstore_channel_dispatch(struct auditstore_channel *c) {
  pthread_mutex_lock(&c->lock);
  drain(&c->loop);
  c->loop.is_dispatching = true; /* what comes up meanwhile is dealt with below */
  channel_look(c);
  bool has_more = turn_until_still(c);
  c->loop.is_dispatching = false;
  if (has_more)
    loop_wake(c);
  struct list done = c->done;
  c->done = (struct list){0};
  channel_leave(c);
  report(&done);
}
