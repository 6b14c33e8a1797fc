/*
 * sender: writes events as batches on one stream, with a bounded number of them unanswered, and
 * keeps track of which line of the input each event came from.
 *
 * Each line ends in exactly one way: acknowledged, refused, unconfirmed (no answer came, or one
 * that leaves it open; it may be stored or not), or unsent. Nothing is sent a second time.
 *
 * It stops at the first batch that the store can't answer for, as when its database is away, and
 * when receipts can't be written: answers to what is under way are still taken, and nothing more is
 * sent.
 */
#pragma once

#include "tool.h"

#include <stdio.h>

struct sender;

struct sender_options {
  const char *source; /* what to call the input in messages; borrowed */
  int batch_events;   /* 1..SENDER_MAX_BATCH */
  bool is_atomic;     /* a batch with a bad line is refused as a whole */
  bool has_receipts;  /* tell on standard output where each event is stored */
};

#define SENDER_MAX_BATCH 1000

/* Counted in events. */
struct sender_totals {
  uint64_t acknowledged;
  uint64_t duplicates; /* of those */
  uint64_t refused;
  uint64_t unconfirmed;
  uint64_t unconfirmed_without_id; /* of those: sending them again could store them twice */
  uint64_t unsent;                 /* collected when sending stopped */
  uint64_t first_open; /* the first line that isn't known to be stored or refused; 0: none */
  bool was_denied;     /* the server ended the stream so */
};

/* Opens the stream. NULL: said why on standard error; *ret_code is the exit code. */
struct sender *sender_new(struct tool *tool, const struct sender_options *options, int *ret_code);
void sender_free(struct sender *sender);

/* Takes over the event and sends the batch when it is full. False: sending has stopped. */
bool sender_add(struct sender *sender, uint64_t line, Auditstore__V1__AuditEvent *event,
                size_t bytes);

/* A line that can't be sent. `field` may be empty. */
void sender_refuse(struct sender *sender, uint64_t line, const char *field, const char *why);

/* Sends what is collected and waits for all answers. False: sending has stopped. */
bool sender_flush(struct sender *sender);

/* Flushes, ends the stream, and says what is unconfirmed or unsent. */
struct sender_totals sender_finish(struct sender *sender);
