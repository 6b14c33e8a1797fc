/*
 * page_token: where a listing goes on, as text that callers carry and don't look into.
 *
 * A token is good for one filter and one order. It isn't secret and gives no right: whoever makes
 * one up learns nothing that ListEvents wouldn't show.
 */
#pragma once

#include "base/must_check.h"
#include "query/filter.h"

/* The last event of the page before: its time, and its place among the events of the same time. */
struct page_position {
  int64_t time_us;
  int64_t ledger_id;
  int64_t sequence;
};

struct page_token {
  bool is_newest_first;
  uint8_t filter[FILTER_FINGERPRINT_BYTES];
  struct page_position last;
};

/* Without padding and NUL. */
#define PAGE_TOKEN_TEXT_LEN 62

void page_token_format(const struct page_token *token, char ret_text[PAGE_TOKEN_TEXT_LEN]);

/* Reads the position out of `text`, which must have been made for the filter and order of `token`,
 * by a service that orders events as this one does. Returns NULL, or what is wrong, for the caller;
 * `token` is untouched then. */
MUST_CHECK const char *page_token_parse(struct str text, struct page_token *token);
