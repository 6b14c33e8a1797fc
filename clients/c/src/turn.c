/* What is due at a time: deadlines, pauses, pings, attempts to connect. */
#include "internal.h"

/* Ends the call if its time is over. */
static void check_deadline(struct auditstore_stream *s, int64_t now_us) {
  struct auditstore_channel *c = s->channel;
  if (now_us < s->deadline_us) {
    channel_due(c, s->deadline_us);
    return;
  }
  struct reason reason;
  if (s->link || s->retry.attempts > 0)
    reason_set(&reason, "deadline passed");
  else if (c->dial.link)
    reason_set(&reason, "deadline passed before the call began: connecting to %s%s%s",
               c->dial.addresses.entries[c->dial.next - 1].text, c->dial.report.text[0] ? "; " : "",
               c->dial.report.text);
  else
    reason_set(&reason, "deadline passed before the call began%s%s", c->failure.text[0] ? ": " : "",
               c->failure.text);
  call_abort(s, AUDITSTORE_DEADLINE_EXCEEDED, reason.text);
}

static void check_pause(struct auditstore_stream *s, int64_t now_us) {
  if (s->is_ended || s->pause_until_us == 0)
    return;
  if (now_us >= s->pause_until_us)
    s->pause_until_us = 0;
  else
    channel_due(s->channel, s->pause_until_us);
}

static void check_calls(struct list *calls, int64_t now_us) {
  struct list_link *next;
  for (struct list_link *at = calls->first; at; at = next) {
    struct auditstore_stream *s = LIST_ENTRY(at, struct auditstore_stream, entry);
    next = at->next;
    check_deadline(s, now_us);
    check_pause(s, now_us);
  }
}

static void check_dial(struct auditstore_channel *c, int64_t now_us) {
  struct link *l = c->dial.link;
  if (!l)
    return;
  if (now_us < dial_limit_us(c))
    channel_due(c, dial_limit_us(c));
  else
    link_drop(l, l->phase == LINK_GREETING  ? "the server's settings didn't come in time"
                 : l->phase == LINK_SHAKING ? "the handshake didn't end in time"
                                            : "no answer in time");
}

static bool somebody_waits_for_ready(const struct auditstore_channel *c) {
  return c->waiting.count > 0 || c->wanted > 0;
}

/* Looks at everything that has a time, but only when the earliest of them is there: what is due
 * later stays unlooked at, however many calls there are. */
static void check_times(struct auditstore_channel *c) {
  int64_t now_us = monotonic_us();
  if (now_us < c->due_us)
    return;
  c->due_us = NEVER;
  check_calls(&c->waiting, now_us);
  for (struct list_link *at = c->links.first; at; at = at->next) {
    struct link *l = LIST_ENTRY(at, struct link, entry);
    check_calls(&l->calls, now_us);
    channel_due(c, link_keep_alive(l, now_us));
  }
  check_dial(c, now_us);
}

void channel_flush(struct auditstore_channel *c) {
  for (struct list_link *at = c->links.first; at; at = at->next)
    link_flush(LIST_ENTRY(at, struct link, entry));
}

void channel_turn(struct auditstore_channel *c) {
  check_times(c);
  channel_settle(c);
  dial_step(c);
  calls_place(c);
  if (c->state == AUDITSTORE_CHANNEL_TRANSIENT_FAILURE && somebody_waits_for_ready(c) &&
      c->backoff.until_us > monotonic_us())
    channel_due(c, c->backoff.until_us);
  channel_flush(c);
  channel_reap(c);
}
