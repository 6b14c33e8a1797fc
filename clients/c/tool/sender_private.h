/*
 * sender_private: what sender.c (the window and the stream), sender_answer.c (what answers mean for
 * lines) and sender_receipts.c (where their events are stored) share.
 */
#pragma once

#include "sender.h"

#define SENDER_WINDOW          32
#define SENDER_MAX_BATCH_BYTES ((size_t)1024 * 1024)

/* What is kept of an event until its answer comes. */
struct batch_line {
  uint64_t number;
  int64_t seconds; /* its time */
  int32_t nanos;
  char event_id[40]; /* as it was sent; a longer one, which is no id, is cut */
};

struct batch {
  uint64_t number;
  struct batch_line *lines; /* owned; one of each event */
  size_t count;             /* 0: this slot is free */
  size_t without_id;
};

struct sender {
  struct tool *tool; /* borrowed */
  struct sender_options options;
  struct auditstore_v1_audit_store_stream_events_stream *stream; /* owned */
  struct batch slots[SENDER_WINDOW];                             /* unanswered */
  size_t in_flight;
  uint64_t next_number;
  struct batch current;                /* being collected */
  Auditstore__V1__AuditEvent **events; /* owned; of `current` */
  size_t current_bytes;
  size_t current_bad; /* lines refused here that belong to it */
  struct sender_totals totals;
  bool is_broken;  /* the stream */
  bool is_stopped; /* nothing more is sent on it */
  bool has_answer; /* to any batch */
  bool shows_progress;
  int64_t progress_ms; /* when it was shown last */
};

/* "SOURCE:LINE: field: why", and the count. */
void sender_report_line(struct sender *sender, uint64_t line, const char *field, const char *why);

/* Prints "12-99, 101" for the lines of a batch. */
void sender_print_lines(FILE *out, const struct batch_line *lines, size_t count);

/* Books what the answer says about each line of its batch. */
void sender_book(struct sender *sender, const struct batch *batch,
                 const Auditstore__V1__StreamEventsResponse *answer);

/* Books the whole batch as unconfirmed, and says which lines. */
void sender_book_unconfirmed(struct sender *sender, const struct batch *batch);

/* Books the whole batch as unsent, and says which lines. */
void sender_book_unsent(struct sender *sender, const struct batch *batch);

/* Whoever goes on has to begin with the first line of the batch, or before. */
void sender_keep_first_open(struct sender *sender, const struct batch *batch);

/* One JSON object on standard output for each event that the answer says is stored, and the sender
 * stops where that can't be written. */
void sender_print_receipts(struct sender *sender, const struct batch *batch,
                           const Auditstore__V1__StreamEventsResponse *answer);

void sender_show_progress(struct sender *sender);
void sender_clear_progress(struct sender *sender);
