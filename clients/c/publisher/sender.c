/*
 * The publisher's thread.
 *
 *   queue, spool ──take──▶ flight: sent, sent, to be sent ──answer──▶ settled
 *                            ▲            │
 *                            └── stream lost, or refused for the time being
 *
 * One batch is what waits when there is room in flight: with nothing to do an event goes at once,
 * and under load batches grow by themselves.
 */
#include "private.h"
#include "verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS   5000
#define JITTER_PERCENT 20
/* Of the store's advice: nobody plans an outage of hours by RetryInfo. */
#define MAX_ADVICE_MS 300000
/* While less than all is in flight, what came meanwhile is looked for so often. */
#define LOOK_MS 10
/* Of the wait for a connection, in which it looks after other things so often. */
#define CONNECT_SLICE_MS 100
/* No store has a smaller server.max_message_bytes. */
#define SMALLEST_MESSAGE_BYTES ((size_t)64 * 1024)
/* A store that is short of memory says the same as one that finds a message too large. An event
 * that so many streams in a row end on is too large; the pauses between add up to 1.5 s. */
#define TOO_LARGE_STREAMS 5

static struct batch *batch_of(struct list_link *link) {
  return LIST_ENTRY(link, struct batch, link);
}

/* ---- waiting ---- */

static void sync_if_due(struct auditstore_publisher *p) {
  if (durable_due_us(p) <= monotonic_us())
    durable_sync(p);
}

/* With the lock. Waits for work or until `until_us`, and syncs in between. */
static void rest(struct auditstore_publisher *p, int64_t until_us) {
  int64_t due_us = durable_due_us(p);
  int64_t end_us = due_us < until_us ? due_us : until_us;
  if (end_us == NEVER) {
    pthread_cond_wait(&p->work, &p->lock);
  } else {
    struct timespec until = {.tv_sec = end_us / 1000000, .tv_nsec = end_us % 1000000 * 1000};
    pthread_cond_timedwait(&p->work, &p->lock, &until);
  }
  sync_if_due(p);
}

static bool is_stopping(struct auditstore_publisher *p) {
  pthread_mutex_lock(&p->lock);
  sync_if_due(p);
  bool is_stopping = p->is_stopping;
  pthread_mutex_unlock(&p->lock);
  return is_stopping;
}

static bool has_work(const struct auditstore_publisher *p) {
  return p->counts.taken > p->picked && p->failure == AUDITSTORE_OK;
}

static void wait_for_work(struct auditstore_publisher *p) {
  pthread_mutex_lock(&p->lock);
  while (!p->is_stopping) {
    int64_t hold_until_us = p->sender.hold_until_us;
    bool is_held = monotonic_us() < hold_until_us;
    if (!is_held && has_work(p))
      break;
    p->is_idle = !is_held;
    rest(p, is_held ? hold_until_us : NEVER);
  }
  p->is_idle = false;
  pthread_mutex_unlock(&p->lock);
}

static void wait_out(struct auditstore_publisher *p) {
  pthread_mutex_lock(&p->lock);
  while (!p->is_stopping && monotonic_us() < p->sender.hold_until_us)
    rest(p, p->sender.hold_until_us);
  pthread_mutex_unlock(&p->lock);
}

static void note(struct auditstore_publisher *p, enum auditstore_code code, const char *message) {
  pthread_mutex_lock(&p->lock);
  p->counts.last_code = code;
  snprintf(p->counts.last_message, sizeof(p->counts.last_message), "%s", message ? message : "");
  pthread_mutex_unlock(&p->lock);
}

/* ---- trouble ---- */

/* So that publishers that were stopped together don't come back together. */
static int64_t varied_ms(int64_t pause_us) {
  int64_t spread = pause_us * JITTER_PERCENT / 100;
  return (pause_us - spread + monotonic_us() % (2 * spread)) / 1000;
}

static int64_t next_pause_ms(struct sender *s) {
  s->pause_us = s->pause_us == 0 ? FIRST_PAUSE_MS * 1000 : s->pause_us * 2;
  if (s->pause_us > MAX_PAUSE_MS * 1000)
    s->pause_us = MAX_PAUSE_MS * 1000;
  return varied_ms(s->pause_us);
}

static int64_t advised_ms(int64_t advice_ms) {
  return advice_ms < MAX_ADVICE_MS ? advice_ms : MAX_ADVICE_MS;
}

static void hold_for(struct auditstore_publisher *p, int64_t pause_ms, enum auditstore_code code,
                     const char *message) {
  struct sender *s = &p->sender;
  int64_t until_us = monotonic_us() + pause_ms * 1000;
  if (until_us > s->hold_until_us)
    s->hold_until_us = until_us;
  s->window = 1;
  s->trouble_id = s->next_id;
  note(p, code, message);
}

void sender_hold(struct auditstore_publisher *p, int64_t delay_ms, enum auditstore_code code,
                 const char *message) {
  hold_for(p, delay_ms >= 0 ? advised_ms(delay_ms) : next_pause_ms(&p->sender), code, message);
}

void sender_hold_failed(struct auditstore_publisher *p, int failures, int64_t advice_ms,
                        enum auditstore_code code, const char *message) {
  int64_t pause_us = FIRST_PAUSE_MS * 1000;
  for (int i = 1; i < failures && pause_us < MAX_PAUSE_MS * 1000; i++)
    pause_us *= 2;
  int64_t pause_ms = varied_ms(pause_us);
  hold_for(p, advice_ms > pause_ms ? advised_ms(advice_ms) : pause_ms, code, message);
}

void sender_take_back(struct auditstore_publisher *p, struct batch *batch) {
  batch->sent_us = 0;
  if (batch->id == 0)
    return;
  batch->id = 0;
  p->sender.in_flight--;
}

bool sender_halve(struct auditstore_publisher *p, struct batch *batch) {
  struct batch *more = batch->count > 1 ? batch_split(batch) : NULL;
  if (!more)
    return false;
  list_insert_after(&p->sender.flight, &batch->link, &more->link);
  pthread_mutex_lock(&p->lock);
  p->counts.halved++;
  pthread_mutex_unlock(&p->lock);
  return true;
}

/* ---- the stream ---- */

/* Opening a stream waits for the connection. What is to be synced meanwhile can't wait so long, so
 * this does, a little at a time. False: there is none. */
static bool connect_in_slices(struct auditstore_publisher *p) {
  int slice_ms = p->options.spool_unsynced_ms < CONNECT_SLICE_MS ? p->options.spool_unsynced_ms
                                                                 : CONNECT_SLICE_MS;
  while (!is_stopping(p)) {
    struct auditstore_status status = {0};
    enum auditstore_code code =
        auditstore_channel_wait(p->channel, AUDITSTORE_CHANNEL_READY, slice_ms, &status);
    bool has_failed = code == AUDITSTORE_UNAVAILABLE ||
                      (code != AUDITSTORE_OK && auditstore_channel_state(p->channel, false) ==
                                                    AUDITSTORE_CHANNEL_TRANSIENT_FAILURE);
    if (has_failed)
      sender_hold(p, -1, AUDITSTORE_UNAVAILABLE, status.message);
    auditstore_status_deinit(&status);
    if (has_failed || code == AUDITSTORE_OK)
      return !has_failed;
  }
  return false;
}

static bool open_stream(struct auditstore_publisher *p) {
  struct sender *s = &p->sender;
  const struct auditstore_call_options options = {.timeout_ms = -1,
                                                  .cancellation = s->cancellation};
  struct auditstore_status status = {0};
  if (p->spool && p->spool->is_unsynced && !connect_in_slices(p))
    return false;
  struct auditstore_v1_audit_store_stream_events_stream *stream =
      auditstore_v1_audit_store_stream_events_open(p->channel, &options, &status);
  s->stream = stream;
  if (stream) {
    s->has_answered = false;
    s->window = 1;
    pthread_mutex_lock(&p->lock);
    p->counts.reconnects += s->had_stream;
    pthread_mutex_unlock(&p->lock);
    s->had_stream = true;
  } else {
    sender_hold(p, auditstore_status_retry_delay_ms(&status), status.code, status.message);
  }
  auditstore_status_deinit(&status);
  return stream != NULL;
}

/* A message above the store's limit ends the stream and names no batch: it was the only one. */
static struct batch *only_in_flight(const struct sender *s) {
  struct batch *only = NULL;
  for (struct list_link *at = s->flight.first; at && s->in_flight == 1; at = at->next)
    if (batch_of(at)->id != 0)
      only = batch_of(at);
  return only;
}

static void shrink(struct auditstore_publisher *p, struct batch *only,
                   const struct auditstore_status *status) {
  size_t bytes = buf_len(&only->body);
  only->exhausted++;
  if (sender_halve(p, only)) {
    pthread_mutex_lock(&p->lock);
    if (bytes / 2 < p->limits.bytes)
      p->limits.bytes = bytes / 2 > SMALLEST_MESSAGE_BYTES ? bytes / 2 : SMALLEST_MESSAGE_BYTES;
    pthread_mutex_unlock(&p->lock);
  } else if (only->count == 1 && bytes > SMALLEST_MESSAGE_BYTES &&
             only->exhausted >= TOO_LARGE_STREAMS) {
    answer_reject_only(p, only, status->code, status->message);
  }
}

/* Takes back all that it hadn't answered. */
static void end_stream(struct auditstore_publisher *p, bool cancels,
                       struct auditstore_status *ret_status) {
  struct auditstore_v1_audit_store_stream_events_stream *stream = p->sender.stream;
  p->sender.stream = NULL;
  if (cancels)
    auditstore_v1_audit_store_stream_events_cancel(stream);
  auditstore_v1_audit_store_stream_events_finish(stream, ret_status);
  for (struct list_link *at = p->sender.flight.first; at; at = at->next)
    sender_take_back(p, batch_of(at));
}

/* `why` NULL: it has ended by itself. */
static void lose_stream(struct auditstore_publisher *p, const char *why) {
  struct sender *s = &p->sender;
  struct auditstore_status status = {0};
  struct batch *only = only_in_flight(s);
  end_stream(p, why != NULL, &status);
  int64_t delay_ms = auditstore_status_retry_delay_ms(&status);
  bool is_too_large = only && status.code == AUDITSTORE_RESOURCE_EXHAUSTED && delay_ms < 0;
  /* One that worked may be made anew at once. */
  if (delay_ms < 0 && s->has_answered && !(is_too_large && only->count == 1))
    delay_ms = 0;
  sender_hold(p, delay_ms, why ? AUDITSTORE_DEADLINE_EXCEEDED : status.code,
              why ? why : status.message);
  if (is_too_large)
    shrink(p, only, &status);
  else if (only)
    only->exhausted = 0;
  /* What a proxy or a reset says is nothing that the store said of these events. */
  if (only && !why && status.is_from_server &&
      verdict_of_stream((int)status.code) == VERDICT_FAILED)
    answer_failed(p, only, &(struct failure){status.code, status.message, delay_ms});
  auditstore_status_deinit(&status);
}

/* ---- taking batches ---- */

/* With the lock. */
static void start_numbers(struct auditstore_publisher *p, struct batch *b) {
  b->first_number = p->picked;
  p->picked += b->span;
  if (!p->sender.flight.first)
    p->oldest_us = b->taken_us;
  list_push_back(&p->sender.flight, &b->link);
}

static void fail_spool(struct auditstore_publisher *p, const struct auditstore_status *status) {
  pthread_mutex_lock(&p->lock);
  p->failure = AUDITSTORE_DATA_LOSS;
  snprintf(p->failure_message, sizeof(p->failure_message), "%s",
           status->message ? status->message : "the spool can't be read");
  pthread_cond_broadcast(&p->news);
  pthread_mutex_unlock(&p->lock);
  note(p, AUDITSTORE_DATA_LOSS, status->message);
}

/* What can't be read now may be later (out of memory or descriptors), unless it is damaged. */
static void on_unreadable(struct auditstore_publisher *p, const struct auditstore_status *status) {
  if (status->code == AUDITSTORE_DATA_LOSS)
    fail_spool(p, status);
  else
    sender_hold(p, -1, status->code, status->message);
}

/* Puts records of one segment into the batch until it is full. Waits when not one can be. */
static void read_records(struct auditstore_publisher *p, struct batch *b,
                         const struct spool_reach *reach, const struct batch_limits *limits) {
  struct spool_reader *reader = &p->sender.reader;
  struct auditstore_status status = {0};
  struct spool_place place = reader->place;
  struct record record;
  bool has_memory = true;
  while (has_memory && spool_reader_peek(reader, reach, &record, &status) &&
         batch_has_room(b, limits, record.event_len)) {
    has_memory = batch_add(b, &record);
    if (has_memory)
      spool_reader_skip(reader, &record);
    place = reader->place;
  }
  if (!has_memory && b->count == 0)
    sender_hold(p, -1, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  b->is_spooled = true;
  b->place = place;
  if (status.code != AUDITSTORE_OK)
    on_unreadable(p, &status);
  auditstore_status_deinit(&status);
}

static struct batch *read_batch(struct auditstore_publisher *p) {
  struct spool_reach reach;
  struct spool_reader *reader = &p->sender.reader;
  pthread_mutex_lock(&p->lock);
  struct batch *b = spares_take(&p->spares);
  struct batch_limits limits = p->limits;
  do {
    spool_reader_reach(reader, &reach);
  } while (!(reach.has_segment && reader->place.offset < reach.end) &&
           spool_reader_advance(reader, &reach));
  pthread_mutex_unlock(&p->lock);
  if (b)
    read_records(p, b, &reach, &limits);
  else
    sender_hold(p, -1, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  if (b && b->count > 0)
    return b;
  if (b)
    batch_free(b);
  return NULL;
}

/* False: there is nothing. */
static bool take_batch(struct auditstore_publisher *p) {
  pthread_mutex_lock(&p->lock);
  struct list_link *link = list_pop_front(&p->queue);
  bool has_spooled = !link && p->spool && has_work(p);
  if (link) {
    p->queue_waiting -= batch_of(link)->span;
    start_numbers(p, batch_of(link));
  }
  pthread_mutex_unlock(&p->lock);
  struct batch *b = has_spooled ? read_batch(p) : NULL;
  if (b) {
    pthread_mutex_lock(&p->lock);
    start_numbers(p, b);
    pthread_mutex_unlock(&p->lock);
  }
  return link || b;
}

/* ---- sending ---- */

/* Field 1. */
static size_t put_text(uint8_t *at, struct str text) {
  at[0] = 0x0a;
  at[1] = (uint8_t)text.len;
  memcpy(at + 2, text.data, text.len);
  return 2 + text.len;
}

/* A StreamEventsRequest: batch_id, mode PARTIAL, and the events as they are. */
static enum auditstore_stream_result send_batch(struct auditstore_publisher *p, struct batch *b) {
  struct sender *s = &p->sender;
  uint8_t head[40];
  char id[24];
  snprintf(id, sizeof(id), "%" PRIu64, s->next_id + 1);
  size_t head_len = put_text(head, str_z(id));
  head[head_len++] = 0x18;
  head[head_len++] = AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL;
  const struct str parts[] = {str_of(head, head_len),
                              str_of(buf_bytes(&b->body), buf_len(&b->body))};
  enum auditstore_stream_result result =
      stream_send_packed((struct auditstore_stream *)s->stream, parts, 2, 0);
  if (result != AUDITSTORE_STREAM_OK)
    return result;
  b->id = ++s->next_id;
  b->sent_us = monotonic_us();
  s->in_flight++;
  pthread_mutex_lock(&p->lock);
  p->counts.batches++;
  p->counts.resent += b->was_sent;
  p->counts.in_flight_batches = (uint64_t)s->in_flight;
  pthread_mutex_unlock(&p->lock);
  b->was_sent = true;
  return result;
}

static struct batch *next_unsent(const struct sender *s) {
  for (struct list_link *at = s->flight.first; at; at = at->next)
    if (batch_of(at)->id == 0 && !batch_of(at)->is_done)
      return batch_of(at);
  return NULL;
}

/* False: the stream is lost. */
static bool send_due(struct auditstore_publisher *p) {
  struct sender *s = &p->sender;
  while (s->in_flight < s->window && monotonic_us() >= s->hold_until_us) {
    struct batch *b = next_unsent(s);
    if (!b && !take_batch(p))
      break;
    if (!b)
      continue;
    enum auditstore_stream_result result = send_batch(p, b);
    if (result == AUDITSTORE_STREAM_AGAIN) {
      b->sent_us = b->sent_us ? b->sent_us : monotonic_us();
      break;
    }
    if (result == AUDITSTORE_STREAM_OK)
      continue;
    lose_stream(p, NULL);
    return false;
  }
  return true;
}

/* ---- receiving ---- */

/* Of the oldest that is sent, or that the store takes no bytes of. */
static int64_t answer_due_us(const struct auditstore_publisher *p) {
  int64_t first_us = NEVER;
  for (struct list_link *at = p->sender.flight.first; at; at = at->next)
    if (batch_of(at)->sent_us != 0 && batch_of(at)->sent_us < first_us)
      first_us = batch_of(at)->sent_us;
  return first_us == NEVER ? NEVER : first_us + (int64_t)p->options.answer_timeout_ms * 1000;
}

static int receive_timeout_ms(const struct auditstore_publisher *p) {
  const struct sender *s = &p->sender;
  int64_t left_us = answer_due_us(p) - monotonic_us();
  int64_t left_ms = left_us > 0 ? left_us / 1000 + 1 : 0;
  int64_t most_ms = s->in_flight < s->window ? LOOK_MS : left_ms;
  if (p->spool && p->spool->is_unsynced && most_ms > p->options.spool_unsynced_ms)
    most_ms = p->options.spool_unsynced_ms;
  return (int)(left_ms < most_ms ? left_ms : most_ms);
}

static void receive(struct auditstore_publisher *p) {
  struct sender *s = &p->sender;
  Auditstore__V1__StreamEventsResponse *answer = NULL;
  switch (auditstore_v1_audit_store_stream_events_recv(s->stream, &answer, receive_timeout_ms(p))) {
  case AUDITSTORE_STREAM_OK: {
    bool makes_sense = answer_take(p, answer);
    auditstore__v1__stream_events_response__free_unpacked(answer, NULL);
    s->has_answered |= makes_sense;
    if (!makes_sense)
      lose_stream(p, "the store's answer makes no sense");
    break;
  }
  case AUDITSTORE_STREAM_AGAIN:
    if (monotonic_us() >= answer_due_us(p))
      lose_stream(p, "the store didn't answer within answer_timeout_ms");
    break;
  case AUDITSTORE_STREAM_END:
    lose_stream(p, NULL);
  }
}

/* ---- what is settled ---- */

/* With the lock, which is released meanwhile: others needn't wait for the disk. */
static void delete_settled(struct auditstore_publisher *p, uint64_t below) {
  pthread_mutex_unlock(&p->lock);
  int error = spool_delete_sync(p->spool);
  pthread_mutex_lock(&p->lock);
  spool_delete_end(p->spool, below, error);
  pthread_cond_broadcast(&p->news);
}

/* Frees what is done at the front, and tells those who wait. */
static void confirm(struct auditstore_publisher *p) {
  struct sender *s = &p->sender;
  struct spool_place place;
  bool has_place = false;
  pthread_mutex_lock(&p->lock);
  while (s->flight.first && batch_of(s->flight.first)->is_done) {
    struct batch *b = batch_of(list_pop_front(&s->flight));
    p->settled = b->first_number + b->span;
    p->counts.queue_events -= b->held_events;
    p->counts.queue_bytes -= b->held_bytes;
    if (b->is_spooled) {
      place = b->place;
      has_place = true;
    }
    spares_put(&p->spares, b);
  }
  uint64_t below = has_place ? spool_acknowledge(p->spool, place) : 0;
  p->counts.in_flight_batches = (uint64_t)s->in_flight;
  p->oldest_us = s->flight.first ? batch_of(s->flight.first)->taken_us : 0;
  pthread_cond_broadcast(&p->news);
  if (below > 0)
    delete_settled(p, below);
  pthread_mutex_unlock(&p->lock);
}

/* ---- the thread ---- */

static void work(struct auditstore_publisher *p) {
  struct sender *s = &p->sender;
  if (s->in_flight == 0 && monotonic_us() < s->hold_until_us) {
    wait_out(p);
    return;
  }
  if (!s->stream && !open_stream(p))
    return;
  if (send_due(p) && (s->in_flight > 0 || next_unsent(s)))
    receive(p);
}

void *sender_run(void *publisher) {
  struct auditstore_publisher *p = publisher;
  struct sender *s = &p->sender;
  while (!is_stopping(p)) {
    if (s->flight.count == 0 && !take_batch(p))
      wait_for_work(p);
    else
      work(p);
    confirm(p);
  }
  if (s->stream)
    end_stream(p, true, NULL);
  return NULL;
}
