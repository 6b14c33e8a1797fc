#include "sender_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a send that waits for the server's flow control keeps from looking for answers: a
 * server that can't get rid of its answers may not read on. */
#define SEND_SLICE_MS 50

static bool alloc_batches(struct sender *sender) {
  for (size_t i = 0; i < SENDER_WINDOW; i++) {
    sender->slots[i].lines = calloc(SENDER_MAX_BATCH, sizeof(struct batch_line));
    if (!sender->slots[i].lines)
      return false;
  }
  sender->current.lines = calloc(SENDER_MAX_BATCH, sizeof(struct batch_line));
  sender->events = calloc(SENDER_MAX_BATCH, sizeof(Auditstore__V1__AuditEvent *));
  return sender->current.lines && sender->events;
}

static bool open_stream(struct sender *sender, int *ret_code) {
  /* The stream may be long; each answer has its own deadline. */
  const struct auditstore_call_options options = {.timeout_ms = -1};
  struct auditstore_status status = {0};
  sender->stream =
      auditstore_v1_audit_store_stream_events_open(sender->tool->channel, &options, &status);
  *ret_code = sender->stream ? TOOL_OK : tool_fail(sender->tool, "send events", &status);
  auditstore_status_deinit(&status);
  return sender->stream != NULL;
}

static struct sender *alloc_sender(struct tool *tool, const struct sender_options *options) {
  struct sender *sender = calloc(1, sizeof(*sender));
  if (sender && alloc_batches(sender)) {
    sender->tool = tool;
    sender->options = *options;
    sender->shows_progress = isatty(STDERR_FILENO);
    return sender;
  }
  tool_no_memory();
  sender_free(sender);
  return NULL;
}

struct sender *sender_new(struct tool *tool, const struct sender_options *options, int *ret_code) {
  *ret_code = TOOL_REFUSED;
  struct sender *sender = alloc_sender(tool, options);
  if (!sender || open_stream(sender, ret_code))
    return sender;
  sender_free(sender);
  return NULL;
}

static void drop_events(struct sender *sender) {
  for (size_t i = 0; i < sender->current.count; i++)
    auditstore__v1__audit_event__free_unpacked(sender->events[i], NULL);
  sender->current.count = 0;
  sender->current.without_id = 0;
  sender->current_bytes = 0;
  sender->current_bad = 0;
}

void sender_free(struct sender *sender) {
  if (!sender)
    return;
  if (sender->events)
    drop_events(sender);
  for (size_t i = 0; i < SENDER_WINDOW; i++)
    free(sender->slots[i].lines);
  free(sender->current.lines);
  free(sender->events);
  free(sender);
}

/* ---- answers ---- */

static struct batch *find_batch(struct sender *sender, const char *batch_id) {
  char *end = NULL;
  uint64_t number = strtoull(batch_id, &end, 10);
  for (size_t i = 0; *batch_id && !*end && i < SENDER_WINDOW; i++)
    if (sender->slots[i].count && sender->slots[i].number == number)
      return &sender->slots[i];
  return NULL;
}

/* False: the stream is broken, or timeout_ms (0: don't wait) passed. */
static bool take_answer(struct sender *sender, int timeout_ms) {
  Auditstore__V1__StreamEventsResponse *answer = NULL;
  enum auditstore_stream_result result =
      auditstore_v1_audit_store_stream_events_recv(sender->stream, &answer, timeout_ms);
  if (result != AUDITSTORE_STREAM_OK) {
    sender->is_broken |= result == AUDITSTORE_STREAM_END;
    return false;
  }
  struct batch *batch = find_batch(sender, answer->batch_id);
  if (batch) {
    sender->has_answer = true;
    sender_book(sender, batch, answer);
    batch->count = 0;
    sender->in_flight--;
  } else {
    fputs("auditstore: the server answered a batch that was not sent: not an auditstore?\n",
          stderr);
    sender->is_broken = true;
  }
  auditstore__v1__stream_events_response__free_unpacked(answer, NULL);
  sender_show_progress(sender);
  return batch != NULL;
}

/* Like take_answer(), but no answer within the tool's timeout breaks the stream. */
static bool wait_for_answer(struct sender *sender) {
  if (take_answer(sender, sender->tool->timeout_ms))
    return true;
  if (!sender->is_broken) {
    sender_clear_progress(sender);
    fprintf(stderr, "auditstore: no answer from %s for %d ms\n", sender->tool->server,
            sender->tool->timeout_ms);
    auditstore_v1_audit_store_stream_events_cancel(sender->stream);
    sender->is_broken = true;
  }
  return false;
}

/* ---- sending ---- */

static struct batch *free_slot(struct sender *sender) {
  for (size_t i = 0; i < SENDER_WINDOW; i++)
    if (sender->slots[i].count == 0)
      return &sender->slots[i];
  return NULL;
}

/* The events stay here until the batch is sent; from then on their lines are enough. */
static struct batch *move_to_slot(struct sender *sender) {
  struct batch *slot = free_slot(sender);
  struct batch_line *spare = slot->lines;
  *slot = sender->current;
  slot->number = sender->next_number++;
  sender->current.lines = spare;
  sender->in_flight++;
  return slot;
}

static bool write_request(struct sender *sender,
                          const Auditstore__V1__StreamEventsRequest *request) {
  int waited_ms = 0;
  while (!sender->is_broken) {
    enum auditstore_stream_result result =
        auditstore_v1_audit_store_stream_events_send(sender->stream, request, SEND_SLICE_MS);
    if (result == AUDITSTORE_STREAM_OK)
      return true;
    if (result == AUDITSTORE_STREAM_END || (waited_ms += SEND_SLICE_MS) > sender->tool->timeout_ms)
      sender->is_broken = true;
    else if (take_answer(sender, 0))
      waited_ms = 0;
  }
  return false;
}

static bool goes_on(const struct sender *sender) {
  return !sender->is_broken && !sender->is_stopped;
}

/* False: sending has stopped. */
static bool wait_for_slot(struct sender *sender) {
  while (goes_on(sender) && sender->in_flight == SENDER_WINDOW)
    wait_for_answer(sender);
  return goes_on(sender);
}

static bool send_current(struct sender *sender) {
  if (!wait_for_slot(sender))
    return false;
  char batch_id[24];
  snprintf(batch_id, sizeof(batch_id), "%" PRIu64, sender->next_number);
  Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  request.batch_id = batch_id;
  request.n_events = sender->current.count;
  request.events = sender->events;
  request.mode = sender->options.is_atomic ? AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_ATOMIC
                                           : AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL;
  move_to_slot(sender);
  bool was_sent = write_request(sender, &request);
  drop_events(sender);
  while (was_sent && take_answer(sender, 0))
    ;
  return was_sent && goes_on(sender);
}

/* An atomic batch with a line that was refused here isn't sent at all. */
static void refuse_current(struct sender *sender) {
  if (sender->current.count) {
    sender_clear_progress(sender);
    fprintf(stderr, "%s:", sender->options.source);
    sender_print_lines(stderr, sender->current.lines, sender->current.count);
    fputs(": not sent: another line of this batch is bad and --atomic is on\n", stderr);
    sender->totals.refused += sender->current.count;
  }
  drop_events(sender);
}

static bool end_current(struct sender *sender) {
  if (sender->options.is_atomic && sender->current_bad) {
    refuse_current(sender);
    return true;
  }
  return sender->current.count == 0 || send_current(sender);
}

static bool is_current_full(const struct sender *sender) {
  size_t lines = sender->current.count + (sender->options.is_atomic ? sender->current_bad : 0);
  return lines >= (size_t)sender->options.batch_events ||
         sender->current_bytes >= SENDER_MAX_BATCH_BYTES;
}

/* So that no batch is larger than it has to be: the server limits messages. */
static bool make_room(struct sender *sender, size_t bytes) {
  return sender->current_bytes + bytes <= SENDER_MAX_BATCH_BYTES || end_current(sender);
}

static struct batch_line line_of(uint64_t number, const Auditstore__V1__AuditEvent *event) {
  struct batch_line line = {.number = number};
  if (event->event_time) {
    line.seconds = event->event_time->seconds;
    line.nanos = event->event_time->nanos;
  }
  snprintf(line.event_id, sizeof(line.event_id), "%s", event->event_id);
  return line;
}

bool sender_add(struct sender *sender, uint64_t line, Auditstore__V1__AuditEvent *event,
                size_t bytes) {
  bool is_up = make_room(sender, bytes);
  sender->events[sender->current.count] = event;
  sender->current.lines[sender->current.count++] = line_of(line, event);
  sender->current.without_id += !event->event_id[0];
  sender->current_bytes += bytes;
  return is_up && (!is_current_full(sender) || end_current(sender));
}

void sender_refuse(struct sender *sender, uint64_t line, const char *field, const char *why) {
  sender_report_line(sender, line, field, why);
  sender->current_bad++;
  /* Full by this line: the batch is atomic, so ending it sends nothing that could break. */
  if (is_current_full(sender))
    end_current(sender);
}

bool sender_flush(struct sender *sender) {
  if (goes_on(sender))
    end_current(sender);
  while (sender->in_flight && !sender->is_broken)
    wait_for_answer(sender);
  return goes_on(sender);
}

/* ---- the end ---- */

static int by_number(const void *a, const void *b) {
  const struct batch *left = a;
  const struct batch *right = b;
  return (left->number > right->number) - (left->number < right->number);
}

static bool is_denial(enum auditstore_code code) {
  return code == AUDITSTORE_UNAUTHENTICATED || code == AUDITSTORE_PERMISSION_DENIED;
}

static void book_what_is_left(struct sender *sender) {
  qsort(sender->slots, SENDER_WINDOW, sizeof(sender->slots[0]), by_number);
  for (size_t i = 0; i < SENDER_WINDOW; i++)
    if (sender->slots[i].count)
      sender_book_unconfirmed(sender, &sender->slots[i]);
  if (sender->current.count)
    sender_book_unsent(sender, &sender->current);
}

static void say_how_it_broke(struct sender *sender, const struct auditstore_status *status) {
  if (status->code != AUDITSTORE_OK)
    tool_fail(sender->tool, "go on sending", status);
  else if (sender->in_flight || sender->current.count)
    fputs("auditstore: the server ended the stream before it had answered everything\n", stderr);
  else
    fputs("auditstore: the server ended the stream\n", stderr);
}

struct sender_totals sender_finish(struct sender *sender) {
  sender_flush(sender);
  sender_clear_progress(sender);
  struct auditstore_status status = {0};
  if (sender->is_broken)
    auditstore_v1_audit_store_stream_events_half_close(sender->stream);
  auditstore_v1_audit_store_stream_events_finish(sender->stream, &status);
  sender->stream = NULL;
  if (sender->is_broken)
    say_how_it_broke(sender, &status);
  sender->totals.was_denied = is_denial(status.code);
  auditstore_status_deinit(&status);
  book_what_is_left(sender);
  return sender->totals;
}
