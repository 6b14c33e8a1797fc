/* What the store says about a batch, event by event. */
#include "private.h"
#include "verdict.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define REASON_TEXT_BYTES 320
/* It may be the store that is broken. Doubled for each event in a row that was given up, up to 25
 * minutes: one that fails at everything for a day costs some seventy events, not all. */
#define GIVE_UP_EVERY_US      (1500LL * 1000)
#define MAX_GIVE_UP_DOUBLINGS 10

/* ---- what a status says ---- */

static const char *message_of(const Google__Rpc__Status *status) {
  return status && status->message ? status->message : "";
}

/* The first field that is named, or the message. */
struct violation_text {
  char *text;
  size_t size;
};

static void take_first_violation(void *arg, const char *field, const char *description) {
  const struct violation_text *reason = arg;
  if (*reason->text)
    return;
  /* Not "events[7].": it was the index in some batch. */
  const char *dot = strncmp(field, "events[", 7) == 0 ? strchr(field, '.') : NULL;
  snprintf(reason->text, reason->size, "%s: %s", dot ? dot + 1 : field, description);
}

static void rejection_text(const Google__Rpc__Status *status, char *text, size_t size) {
  struct violation_text reason = {text, size};
  text[0] = '\0';
  auditstore_rpc_status_violations(status, take_first_violation, &reason);
  if (!*text)
    snprintf(text, size, "%s", message_of(status));
}

/* Its message is `text`, for as long as that lives. */
static struct failure failure_of(const Google__Rpc__Status *status, char *text, size_t size) {
  rejection_text(status, text, size);
  int64_t delay_ms = auditstore_rpc_status_retry_delay_ms(status);
  bool is_known = status->code > AUDITSTORE_OK && status->code <= AUDITSTORE_UNAUTHENTICATED;
  return (struct failure){.code =
                              is_known ? (enum auditstore_code)status->code : AUDITSTORE_UNKNOWN,
                          .message = text,
                          .advice_ms = delay_ms > 0 ? delay_ms : -1}; /* at once is no advice */
}

/* ---- telling ---- */

static void tell(const struct auditstore_publisher *p, const struct batch *b,
                 const struct batch_event *e, struct auditstore_publish_result *result) {
  char id[UUID_TEXT_LEN + 1];
  if (!p->options.on_result)
    return;
  memcpy(id, record_event_id(batch_event_bytes(b, e)), UUID_TEXT_LEN);
  id[UUID_TEXT_LEN] = '\0';
  result->tag = e->tag;
  result->event_id = id;
  result->was_taken = true;
  p->options.on_result(p->options.on_result_arg, result);
}

/* Those who wait in publish for this event. */
static void tell_waiters(struct auditstore_publisher *p, uint64_t number, enum auditstore_code code,
                         const char *message) {
  for (struct list_link *at = p->settle_waiters.first; at; at = at->next) {
    struct settle_waiter *w = LIST_ENTRY(at, struct settle_waiter, link);
    if (number < w->first || number >= w->behind || w->code != AUDITSTORE_OK)
      continue;
    w->code = code;
    snprintf(w->message, sizeof(w->message), "%s", message);
  }
}

/* ---- refused for good ---- */

/* With a spool the event goes to its file first. False: it can't, so it isn't settled. */
static bool keep_rejected(struct auditstore_publisher *p, const struct reject *reject) {
  struct auditstore_status status = {0};
  uint64_t size = 0;
  if (!p->spool)
    return true;
  pthread_mutex_lock(&p->lock);
  uint64_t used = p->spool->bytes + rejects_size(p->spool);
  uint64_t room = used < p->spool->max_bytes ? p->spool->max_bytes - used : 0;
  pthread_mutex_unlock(&p->lock);
  enum auditstore_code code = rejects_append(p->spool, reject, room, &size, &status);
  pthread_mutex_lock(&p->lock);
  if (code == AUDITSTORE_OK)
    p->spool->rejected_bytes = size;
  pthread_mutex_unlock(&p->lock);
  if (code != AUDITSTORE_OK)
    sender_hold(p, -1, status.code, status.message);
  auditstore_status_deinit(&status);
  return code == AUDITSTORE_OK;
}

static void reject(struct auditstore_publisher *p, const struct batch *b, struct batch_event *e,
                   enum auditstore_code code, const char *message) {
  const struct reject reject = {.code = code,
                                .message = message,
                                .tag = e->tag,
                                .event = batch_event_bytes(b, e),
                                .event_len = e->len};
  if (!keep_rejected(p, &reject))
    return;
  e->is_settled = true;
  pthread_mutex_lock(&p->lock);
  p->counts.rejected++;
  tell_waiters(p, b->first_number + e->nth, code, message);
  pthread_mutex_unlock(&p->lock);
  struct auditstore_publish_result result = {.code = code, .message = message};
  tell(p, b, e, &result);
}

/* ---- failed at ---- */

static bool may_give_up(const struct auditstore_publisher *p, const struct batch_event *e) {
  const struct sender *s = &p->sender;
  int most = p->options.max_internal_tries;
  return most > 0 && e->failures >= most && (s->given_up == 0 || monotonic_us() >= s->give_up_us);
}

static void note_given_up(struct sender *s) {
  if (s->given_up < MAX_GIVE_UP_DOUBLINGS)
    s->given_up++;
  s->give_up_us = monotonic_us() + (GIVE_UP_EVERY_US << s->given_up);
}

/* An event that the store fails at each time would hold up all that come behind it. */
static void note_failure(struct auditstore_publisher *p, const struct batch *b,
                         struct batch_event *e, const struct failure *failure) {
  const char *message = failure->message ? failure->message : "";
  if (e->failures < INT_MAX)
    e->failures++;
  if (may_give_up(p, e)) {
    char text[REASON_TEXT_BYTES + 64];
    snprintf(text, sizeof(text), "given up at try %d, alone: %s", e->failures, message);
    reject(p, b, e, failure->code, text);
  }
  if (e->is_settled)
    note_given_up(&p->sender);
  else
    sender_hold_failed(p, e->failures, failure->advice_ms, failure->code, message);
}

static void fail_left_out(struct auditstore_publisher *p, struct batch *b) {
  static const struct failure left_out = {.code = AUDITSTORE_INTERNAL,
                                          .message = "the store's answer leaves the event out",
                                          .advice_ms = -1};
  for (size_t i = 0; i < b->count; i++) {
    struct batch_event *e = &b->events[i];
    if (!e->is_settled && !e->is_answered)
      note_failure(p, b, e, &left_out);
    e->is_answered = false;
  }
}

/* ---- one batch ---- */

/* Done, or what is left of it is sent again. */
static void conclude(struct auditstore_publisher *p, struct batch *b) {
  size_t left = 0;
  for (size_t i = 0; i < b->count; i++)
    left += !b->events[i].is_settled;
  sender_take_back(p, b);
  if (left == 0) {
    b->is_done = true;
    return;
  }
  if (left < b->count && !batch_compact(b))
    sender_hold(p, -1, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
}

/* 0 for what lies outside the years 1 to 9999. */
static int64_t microseconds(const Google__Protobuf__Timestamp *t) {
  static const int64_t first_s = -62135596800, last_s = 253402300799;
  return t && t->seconds >= first_s && t->seconds <= last_s ? t->seconds * 1000000 + t->nanos / 1000
                                                            : 0;
}

static bool take_receipt(struct auditstore_publisher *p, struct batch *b,
                         const Auditstore__V1__Receipt *receipt) {
  size_t first = receipt->first_index;
  uint64_t settled = 0;
  struct auditstore_publish_result result = {.message = "",
                                             .ledger_id = receipt->ledger_id,
                                             .committed_us = microseconds(receipt->committed_at),
                                             .duplicate = receipt->duplicate};
  if (first > b->count || receipt->count > b->count - first)
    return false;
  for (size_t i = 0; i < receipt->count; i++) {
    struct batch_event *e = &b->events[first + i];
    if (e->is_settled)
      continue;
    e->is_settled = true;
    settled++;
    result.sequence = (int64_t)((uint64_t)receipt->first_sequence + i);
    tell(p, b, e, &result);
  }
  if (settled > 0)
    p->sender.given_up = 0;
  pthread_mutex_lock(&p->lock);
  p->counts.acknowledged += settled;
  p->counts.duplicates += receipt->duplicate ? settled : 0;
  pthread_mutex_unlock(&p->lock);
  return true;
}

static bool take_rejection(struct auditstore_publisher *p, struct batch *b,
                           const Auditstore__V1__RejectedEvent *rejected) {
  const Google__Rpc__Status *status = rejected->status;
  if (rejected->index >= b->count || !status)
    return false;
  struct batch_event *e = &b->events[rejected->index];
  if (e->is_settled)
    return true;
  char text[REASON_TEXT_BYTES];
  const struct failure failure = failure_of(status, text, sizeof(text));
  e->is_answered = true;
  switch (verdict_of_event(status->code)) {
  case VERDICT_WAITS:
    sender_hold(p, failure.advice_ms, failure.code, failure.message);
    break;
  case VERDICT_FINAL:
    reject(p, b, e, failure.code, failure.message);
    break;
  case VERDICT_FAILED:
    note_failure(p, b, e, &failure);
    break;
  }
  return true;
}

static bool take_stored(struct auditstore_publisher *p, struct batch *b,
                        const Auditstore__V1__StreamEventsResponse *answer) {
  bool makes_sense = true;
  for (size_t i = 0; i < answer->n_receipts && makes_sense; i++)
    makes_sense = take_receipt(p, b, answer->receipts[i]);
  for (size_t i = 0; i < answer->n_rejected && makes_sense; i++)
    makes_sense = take_rejection(p, b, answer->rejected[i]);
  if (makes_sense)
    fail_left_out(p, b);
  bool is_over = b->id > p->sender.trouble_id && b->first_number >= p->sender.isolating;
  if (makes_sense && is_over) {
    p->sender.window = p->options.max_in_flight;
    p->sender.pause_us = 0;
  }
  return makes_sense;
}

/* Too many events for this store: so are those of batches to come. */
static void note_field(void *arg, const char *field, const char *description) {
  (void)description;
  *(bool *)arg |= strcmp(field, "events") == 0;
}

static void take_too_large(struct auditstore_publisher *p, struct batch *b,
                           const Google__Rpc__Status *status) {
  bool has_too_many = false;
  size_t half = b->count / 2;
  auditstore_rpc_status_violations(status, note_field, &has_too_many);
  if (!sender_halve(p, b))
    sender_hold(p, -1, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  pthread_mutex_lock(&p->lock);
  if (has_too_many && half < p->limits.events)
    p->limits.events = half;
  pthread_mutex_unlock(&p->lock);
}

void answer_reject_only(struct auditstore_publisher *p, struct batch *b, enum auditstore_code code,
                        const char *message) {
  reject(p, b, &b->events[0], code, message ? message : "");
  conclude(p, b);
}

void answer_failed(struct auditstore_publisher *p, struct batch *b, const struct failure *failure) {
  uint64_t behind = b->first_number + b->span;
  if (b->count == 1) {
    note_failure(p, b, &b->events[0], failure);
    conclude(p, b);
  } else if (sender_halve(p, b)) {
    if (behind > p->sender.isolating)
      p->sender.isolating = behind;
    sender_hold_failed(p, 0, failure->advice_ms, failure->code, failure->message);
  } else {
    sender_hold(p, -1, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  }
}

static void take_refusal(struct auditstore_publisher *p, struct batch *b,
                         const Google__Rpc__Status *status) {
  char text[REASON_TEXT_BYTES];
  const struct failure failure = failure_of(status, text, sizeof(text));
  sender_take_back(p, b);
  switch (verdict_of_batch(status->code)) {
  case VERDICT_WAITS:
    sender_hold(p, failure.advice_ms, failure.code, failure.message);
    break;
  case VERDICT_FINAL:
    if (b->count > 1)
      take_too_large(p, b, status);
    else
      answer_reject_only(p, b, failure.code, failure.message);
    break;
  case VERDICT_FAILED:
    answer_failed(p, b, &failure);
    break;
  }
}

static struct batch *find(const struct auditstore_publisher *p, const char *batch_id) {
  for (struct list_link *at = p->sender.flight.first; at; at = at->next) {
    struct batch *b = LIST_ENTRY(at, struct batch, link);
    char id[24];
    snprintf(id, sizeof(id), "%" PRIu64, b->id);
    if (b->id != 0 && strcmp(id, batch_id) == 0)
      return b;
  }
  return NULL;
}

bool answer_take(struct auditstore_publisher *p,
                 const Auditstore__V1__StreamEventsResponse *answer) {
  struct batch *b = find(p, answer->batch_id);
  if (!b)
    return false;
  b->exhausted = 0;
  if (answer->status && answer->status->code != AUDITSTORE_OK) {
    take_refusal(p, b, answer->status);
    return true;
  }
  bool makes_sense = take_stored(p, b, answer);
  conclude(p, b);
  return makes_sense;
}
