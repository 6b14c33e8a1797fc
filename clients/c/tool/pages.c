#include "pages.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_EVENTS 500

struct run {
  struct tool *tool;
  const struct pages_options *options;
  uint64_t given;
  char *page_token; /* owned; NULL: the first page */
};

static int32_t page_size(const struct run *run) {
  uint64_t left = run->options->limit - run->given;
  return run->options->limit && left < PAGE_EVENTS ? (int32_t)left : PAGE_EVENTS;
}

static Auditstore__V1__ListEventsResponse *fetch(struct run *run, int *ret_code) {
  char none[1] = "";
  Auditstore__V1__ListEventsRequest request = AUDITSTORE__V1__LIST_EVENTS_REQUEST__INIT;
  request.filter = (Auditstore__V1__EventFilter *)run->options->filter;
  request.page_size = page_size(run);
  request.page_token = run->page_token ? run->page_token : none;
  request.order = run->options->is_oldest_first
                      ? AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST
                      : AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_NEWEST_FIRST;
  const struct auditstore_call_options options = {.timeout_ms = run->tool->timeout_ms};
  Auditstore__V1__ListEventsResponse *response = NULL;
  struct auditstore_status status = {0};
  if (auditstore_v1_audit_store_list_events(run->tool->channel, &request, &response, &options,
                                            &status) != AUDITSTORE_OK)
    *ret_code = tool_fail(run->tool, "list events", &status);
  auditstore_status_deinit(&status);
  return response;
}

/* False: there is no next page. */
static bool remember_token(struct run *run, const char *token) {
  free(run->page_token);
  run->page_token = *token ? strdup(token) : NULL;
  return run->page_token != NULL;
}

/* True: go on with the next page. */
static bool give_page(struct run *run, const Auditstore__V1__ListEventsResponse *page, pages_cb *cb,
                      void *arg) {
  for (size_t i = 0; i < page->n_events; i++) {
    if (!page->events[i]->event)
      continue;
    run->given++;
    if (!cb(arg, page->events[i]) || run->given == run->options->limit)
      return false;
  }
  return remember_token(run, page->next_page_token);
}

int pages_run(struct tool *tool, const struct pages_options *options, pages_cb *cb, void *arg) {
  struct run run = {.tool = tool, .options = options};
  int code = TOOL_OK;
  bool goes_on = true;
  while (goes_on) {
    Auditstore__V1__ListEventsResponse *page = fetch(&run, &code);
    if (!page)
      break;
    goes_on = give_page(&run, page, cb, arg);
    auditstore__v1__list_events_response__free_unpacked(page, NULL);
  }
  free(run.page_token);
  return code;
}
