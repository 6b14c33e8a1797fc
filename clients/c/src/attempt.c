/* A call's attempts: onto a link, off it, and again. Runs under the channel's lock. */
#include "internal.h"

/* What the server said while nobody looked comes first: it may have closed. */
static void look(struct auditstore_channel *c) {
  struct link *l = find_link(c);
  if (l)
    link_receive(l);
  else
    channel_look(c);
}

static void queue(struct auditstore_stream *s) {
  s->is_begun = true;
  list_push_back(&s->channel->waiting, &s->entry);
  channel_due(s->channel, s->deadline_us);
}

void call_begin(struct auditstore_stream *s) {
  look(s->channel);
  if (s->is_ended)
    return; /* cancelled before */
  queue(s);
  channel_turn(s->channel);
}

void call_begin_in_loop(struct auditstore_stream *s) {
  struct auditstore_channel *c = s->channel;
  look(c);
  if (s->is_ended) {
    loop_add_done(s);
    return;
  }
  queue(s);
  if (find_link(c)) {
    calls_place(c);
    channel_flush(c);
  } else {
    loop_wake(c); /* connecting may have to wait for a name, and that's for dispatch */
  }
}

static void place(struct auditstore_stream *s, struct link *l) {
  struct auditstore_channel *c = s->channel;
  list_remove(&c->waiting, &s->entry);
  s->is_begun = false;
  if (call_submit(s, l) < 0) {
    call_end(s, s->status.code, NULL);
    return;
  }
  s->is_begun = true;
  s->retry.attempts++;
  s->link = l;
  link_watch(l);
  list_push_back(&l->calls, &s->entry);
  c->changes++;
  channel_tell(c);
}

/* Whether nothing will come of waiting. */
static bool is_hopeless(const struct auditstore_stream *s) {
  const struct auditstore_channel *c = s->channel;
  return c->state == AUDITSTORE_CHANNEL_TRANSIENT_FAILURE &&
         (!s->waits_for_ready || c->failure_code != AUDITSTORE_UNAVAILABLE);
}

void calls_place(struct auditstore_channel *c) {
  struct list_link *next;
  for (struct list_link *at = c->waiting.first; at; at = next) {
    struct auditstore_stream *s = LIST_ENTRY(at, struct auditstore_stream, entry);
    struct link *l = find_link(c);
    next = at->next;
    if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
      call_end(s, AUDITSTORE_CANCELLED, "the channel was shut down");
    else if (l && s->pause_until_us == 0)
      place(s, l);
    else if (is_hopeless(s))
      call_end(s, c->failure_code, c->failure.text);
  }
}

/* As if nothing had been sent or received. */
static void start_over(struct auditstore_stream *s, int64_t pause_us) {
  struct auditstore_channel *c = s->channel;
  size_t max_message_bytes = s->deframer.max_body_bytes;
  call_leave(s);
  auditstore_status_deinit(&s->status);
  grpc_deframer_deinit(&s->deframer);
  grpc_deframer_init(&s->deframer, max_message_bytes);
  s->id = 0;
  s->sent_at = UINT64_MAX;
  s->out_taken = 0;
  s->held_bytes = 0;
  s->http_status = 0;
  s->is_deferred = s->has_headers = s->has_status = s->is_grpc = false;
  s->retry.pushback_ms = RETRY_NO_PUSHBACK;
  s->pause_until_us = pause_us > 0 ? monotonic_us() + pause_us : 0;
  list_push_back(&c->waiting, &s->entry);
  if (pause_us > 0)
    channel_due(c, s->pause_until_us);
  loop_wake(c);
  c->changes++;
  channel_tell(c);
}

/* Whether the call is made again; *ret_pause_us: after that. */
static bool is_made_again(struct auditstore_stream *s, bool is_untouched, int64_t *ret_pause_us) {
  struct auditstore_channel *c = s->channel;
  *ret_pause_us = 0;
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN || s->is_committed || s->has_headers)
    return false;
  if (is_untouched && retry_untouched(&s->retry)) {
    s->retry.attempts--;
    return true;
  }
  return s->is_unary &&
         retry_by_policy(&s->retry, &c->throttle, &s->status, &c->random, ret_pause_us) &&
         monotonic_us() < s->deadline_us - *ret_pause_us;
}

void call_attempt_over(struct auditstore_stream *s, bool is_untouched) {
  struct auditstore_channel *c = s->channel;
  int64_t pause_us = 0;
  if (s->is_ended)
    return;
  if (s->status.code == AUDITSTORE_OK)
    retry_succeeded(&c->throttle);
  else if (is_made_again(s, is_untouched, &pause_us)) {
    start_over(s, pause_us);
    return;
  }
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
    call_end(s, AUDITSTORE_CANCELLED, "the channel was shut down");
  else
    call_end(s, s->status.code, NULL);
}

void call_commit(struct auditstore_stream *s) {
  s->is_committed = true;
  buf_consume(&s->out, s->out_taken);
  s->out_taken = 0;
}
