#include "sender_private.h"

#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRESS_EVERY_MS 100

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sender_show_progress(struct sender *sender) {
  if (!sender->shows_progress || now_ms() - sender->progress_ms < PROGRESS_EVERY_MS)
    return;
  sender->progress_ms = now_ms();
  fprintf(stderr, "\r%" PRIu64 " acknowledged, %" PRIu64 " refused", sender->totals.acknowledged,
          sender->totals.refused);
}

void sender_clear_progress(struct sender *sender) {
  if (sender->shows_progress && sender->progress_ms)
    fputs("\r\033[K", stderr);
}

static void begin_line(struct sender *sender, uint64_t line) {
  sender_clear_progress(sender);
  fprintf(stderr, "%s:%" PRIu64 ": ", sender->options.source, line);
}

static void print_line(struct sender *sender, uint64_t line, const char *field, const char *why) {
  begin_line(sender, line);
  if (field[0]) {
    text_print_escaped(stderr, field);
    fputs(": ", stderr);
  }
  text_print_escaped(stderr, why);
  fputc('\n', stderr);
}

void sender_report_line(struct sender *sender, uint64_t line, const char *field, const char *why) {
  print_line(sender, line, field, why);
  sender->totals.refused++;
}

void sender_print_lines(FILE *out, const struct batch_line *lines, size_t count) {
  for (size_t i = 0; i < count;) {
    size_t first = i;
    while (i + 1 < count && lines[i + 1].number == lines[i].number + 1)
      i++;
    fprintf(out, "%s%" PRIu64, first ? ", " : "", lines[first].number);
    if (i > first)
      fprintf(out, "-%" PRIu64, lines[i].number);
    i++;
  }
}

static void print_range(struct sender *sender, const struct batch *batch) {
  sender_clear_progress(sender);
  fprintf(stderr, "%s:", sender->options.source);
  sender_print_lines(stderr, batch->lines, batch->count);
  fputs(": ", stderr);
}

void sender_keep_first_open(struct sender *sender, const struct batch *batch) {
  uint64_t first = batch->lines[0].number;
  if (!sender->totals.first_open || first < sender->totals.first_open)
    sender->totals.first_open = first;
}

void sender_book_unconfirmed(struct sender *sender, const struct batch *batch) {
  /* A stream may be denied at its beginning, and also later, when rights are taken away: then what
   * came before is stored. */
  bool is_unlikely = sender->totals.was_denied && !sender->has_answer;
  print_range(sender, batch);
  fprintf(stderr, "unconfirmed: %s; ",
          is_unlikely ? "most likely not stored" : "may be stored or not");
  if (batch->without_id)
    fputs("lines without an event_id would be stored twice if sent again\n", stderr);
  else
    fputs("sending these lines again is safe\n", stderr);
  sender_keep_first_open(sender, batch);
  sender->totals.unconfirmed += batch->count;
  sender->totals.unconfirmed_without_id += batch->without_id;
}

void sender_book_unsent(struct sender *sender, const struct batch *batch) {
  print_range(sender, batch);
  fputs("not sent\n", stderr);
  sender_keep_first_open(sender, batch);
  sender->totals.unsent += batch->count;
}

/* ---- what is wrong with an event of a batch ---- */

struct violation_scan {
  struct sender *sender;
  const struct batch *batch;
  size_t printed;
};

#define EVENT_PREFIX "events["

/* What follows the "]" of "events[3]...", and the line of that event. NULL: none is named. */
static const char *find_line(const struct batch *batch, const char *name, uint64_t *ret_line) {
  char *end = NULL;
  if (strncmp(name, EVENT_PREFIX, sizeof(EVENT_PREFIX) - 1) != 0)
    return NULL;
  size_t index = strtoul(name + sizeof(EVENT_PREFIX) - 1, &end, 10);
  if (index >= batch->count || *end != ']')
    return NULL;
  *ret_line = batch->lines[index].number;
  return end + 1;
}

/* "events[3].actor.id" names the line and leaves "actor.id". */
static void print_violation(void *arg, const char *field, const char *description) {
  struct violation_scan *scan = arg;
  uint64_t line = 0;
  const char *rest = find_line(scan->batch, field, &line);
  if (!rest)
    return;
  print_line(scan->sender, line, *rest == '.' ? rest + 1 : "", description);
  scan->printed++;
}

static void print_advice(const Google__Rpc__Status *status) {
  int64_t retry_ms = auditstore_rpc_status_retry_delay_ms(status);
  if (retry_ms >= 0)
    fprintf(stderr, " (the server says: try again in %.1f s)", (double)retry_ms / 1000);
}

static const char *status_text(const Google__Rpc__Status *status) {
  return status->message[0] ? status->message
                            : auditstore_code_name((enum auditstore_code)status->code);
}

/* Where no field is to blame, as when PostgreSQL refuses the row. */
static void print_refusal(struct sender *sender, uint64_t line, const Google__Rpc__Status *status,
                          const char *why) {
  begin_line(sender, line);
  fputs("refused: ", stderr);
  text_print_escaped(stderr, why);
  print_advice(status);
  fputc('\n', stderr);
}

static void book_rejected(struct sender *sender, const struct batch *batch,
                          const Auditstore__V1__RejectedEvent *rejected) {
  if (rejected->index >= batch->count || !rejected->status)
    return;
  struct violation_scan scan = {.sender = sender, .batch = batch};
  auditstore_rpc_status_violations(rejected->status, print_violation, &scan);
  if (!scan.printed)
    print_refusal(sender, batch->lines[rejected->index].number, rejected->status,
                  status_text(rejected->status));
  sender->totals.refused++;
}

/* ---- a whole batch ---- */

/* Codes that say for certain that nothing was stored. After any other the batch may be stored. */
static bool is_certain_refusal(int code) {
  switch (code) {
  case AUDITSTORE_INVALID_ARGUMENT:
  case AUDITSTORE_ALREADY_EXISTS:
  case AUDITSTORE_PERMISSION_DENIED:
  case AUDITSTORE_UNAUTHENTICATED:
  case AUDITSTORE_RESOURCE_EXHAUSTED:
  case AUDITSTORE_FAILED_PRECONDITION:
  case AUDITSTORE_OUT_OF_RANGE:
  case AUDITSTORE_UNIMPLEMENTED:
    return true;
  default:
    return false;
  }
}

/* What an atomic batch failed at may stand in the text alone: "events[3]: why". */
static void print_named_line(struct sender *sender, const struct batch *batch,
                             const Google__Rpc__Status *status) {
  const char *text = status_text(status);
  const char *name = strstr(text, EVENT_PREFIX);
  uint64_t line = 0;
  const char *rest = name ? find_line(batch, name, &line) : NULL;
  if (rest)
    print_refusal(sender, line, status,
                  name == text && strncmp(rest, ": ", 2) == 0 ? rest + 2 : text);
}

static void book_refused_batch(struct sender *sender, const struct batch *batch,
                               const Google__Rpc__Status *status) {
  struct violation_scan scan = {.sender = sender, .batch = batch};
  auditstore_rpc_status_violations(status, print_violation, &scan);
  if (!scan.printed && is_certain_refusal(status->code))
    print_named_line(sender, batch, status);
  print_range(sender, batch);
  fprintf(stderr, "batch refused: %s: ", auditstore_code_name((enum auditstore_code)status->code));
  /* The message names an event by its place in the batch; its line was named already. */
  text_print_escaped(stderr, scan.printed ? "because of what is named above" : status_text(status));
  print_advice(status);
  fputc('\n', stderr);
  if (is_certain_refusal(status->code))
    sender->totals.refused += batch->count;
  else
    sender_book_unconfirmed(sender, batch);
  sender->is_stopped |= !is_certain_refusal(status->code);
}

/* Which events it left out can't be told. */
static void book_wrong_answer(struct sender *sender, const struct batch *batch, uint64_t covered) {
  print_range(sender, batch);
  fprintf(stderr, "the server's answer covers %" PRIu64 " of %zu events\n", covered, batch->count);
  sender_keep_first_open(sender, batch);
  if (covered < batch->count)
    sender->totals.unconfirmed += batch->count - covered;
  sender->is_broken = true;
}

static void book_stored(struct sender *sender, const struct batch *batch,
                        const Auditstore__V1__StreamEventsResponse *answer) {
  uint64_t stored = 0;
  for (size_t i = 0; i < answer->n_receipts; i++) {
    const Auditstore__V1__Receipt *receipt = answer->receipts[i];
    stored += receipt->count;
    sender->totals.duplicates += receipt->duplicate ? receipt->count : 0;
  }
  for (size_t i = 0; i < answer->n_rejected; i++)
    book_rejected(sender, batch, answer->rejected[i]);
  sender->totals.acknowledged += stored;
  if (sender->options.has_receipts)
    sender_print_receipts(sender, batch, answer);
  if (stored + answer->n_rejected != batch->count)
    book_wrong_answer(sender, batch, stored + answer->n_rejected);
}

void sender_book(struct sender *sender, const struct batch *batch,
                 const Auditstore__V1__StreamEventsResponse *answer) {
  if (answer->status && answer->status->code != AUDITSTORE_OK)
    book_refused_batch(sender, batch, answer->status);
  else
    book_stored(sender, batch, answer);
}
