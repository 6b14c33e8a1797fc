/*
 * pages: every event that a filter selects, page after page of ListEvents.
 */
#pragma once

#include "filter.h"
#include "tool.h"

struct pages_options {
  const Auditstore__V1__EventFilter *filter;
  bool is_oldest_first;
  uint64_t limit; /* 0: all */
};

/* Returns false to stop. The event is valid during the call. */
typedef bool pages_cb(void *arg, const Auditstore__V1__StoredEvent *event);

/* Runs `cb` for each event in order. Returns the exit code, having said what went wrong. */
int pages_run(struct tool *tool, const struct pages_options *options, pages_cb *cb, void *arg);
