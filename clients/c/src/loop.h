/*
 * loop: what a program's own loop watches of a channel: its sockets, a timer and news, behind one
 * descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop {
  int epoll_fd; /* -1: nobody has asked for it */
  int news_fd;  /* an eventfd: other threads left something to do */
  int timer_fd;
  int64_t armed_us;    /* what the timer is set to; NEVER: it isn't */
  bool has_news;       /* news_fd is readable */
  bool is_dispatching; /* some thread is: it needs no news */
};

void loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);
