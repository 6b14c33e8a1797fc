#include "json_message.h"
#include "sender_private.h"
#include "times.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define NANOS_PER_MICROSECOND 1000

/* The server tells ids when it made one of the batch's; then it tells them all. */
static const char *id_of(const struct batch *batch,
                         const Auditstore__V1__StreamEventsResponse *answer, size_t index) {
  return index < answer->n_event_ids ? answer->event_ids[index] : batch->lines[index].event_id;
}

static void put_text(const char *name, const char *text) {
  printf("\"%s\":", name);
  json_write_string(stdout, text);
  putchar(',');
}

static void put_time(const char *name, int64_t seconds, int32_t nanos) {
  char text[TIMES_TEXT_SIZE];
  times_format_rfc3339(seconds, nanos - nanos % NANOS_PER_MICROSECOND, text);
  put_text(name, text);
}

static void put_receipt(const Auditstore__V1__Receipt *receipt, const struct batch_line *line,
                        const char *event_id, uint32_t place) {
  printf("{\"line\":%" PRIu64 ",", line->number);
  put_text("event_id", event_id);
  put_time("event_time", line->seconds, line->nanos);
  printf("\"ledger_id\":%" PRId64 ",\"sequence\":%" PRId64 ",", receipt->ledger_id,
         receipt->first_sequence + place);
  if (receipt->committed_at)
    put_time("committed_at", receipt->committed_at->seconds, receipt->committed_at->nanos);
  printf("\"duplicate\":%s}\n", receipt->duplicate ? "true" : "false");
}

static void put_run(const struct batch *batch, const Auditstore__V1__StreamEventsResponse *answer,
                    const Auditstore__V1__Receipt *receipt) {
  for (uint32_t i = 0; i < receipt->count; i++) {
    size_t index = (size_t)receipt->first_index + i;
    if (index >= batch->count)
      return;
    put_receipt(receipt, &batch->lines[index], id_of(batch, answer, index), i);
  }
}

void sender_print_receipts(struct sender *sender, const struct batch *batch,
                           const Auditstore__V1__StreamEventsResponse *answer) {
  sender_clear_progress(sender);
  for (size_t i = 0; i < answer->n_receipts; i++)
    put_run(batch, answer, answer->receipts[i]);
  if (fflush(stdout) == 0)
    return;
  sender->tool->output_failure = errno;
  sender->is_stopped = true;
  sender_keep_first_open(sender, batch);
}
