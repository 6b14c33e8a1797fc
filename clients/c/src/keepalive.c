/* Pings to a server that is silent while calls are open. */
#include "internal.h"

void link_watch(struct link *l) {
  struct auditstore_channel *c = l->channel;
  if (c->keepalive_time_us == NEVER || l->calls.count > 0)
    return;
  l->heard_us = monotonic_us(); /* while no call was open it owed us nothing */
  channel_due(c, l->heard_us + c->keepalive_time_us);
}

static void give_up(struct link *l) {
  struct reason reason;
  reason_set(&reason, "no answer to a ping within %lld ms",
             (long long)(l->channel->keepalive_timeout_us / 1000));
  link_drop(l, reason.text);
}

int64_t link_keep_alive(struct link *l, int64_t now_us) {
  const struct auditstore_channel *c = l->channel;
  if (c->keepalive_time_us == NEVER || l->is_dead || l->phase != LINK_READY)
    return NEVER;
  if (l->pinged_us > 0 && now_us < l->pinged_us + c->keepalive_timeout_us)
    return l->pinged_us + c->keepalive_timeout_us;
  if (l->pinged_us > 0)
    link_receive(l); /* the answer may have come while nobody drove the channel */
  if (l->pinged_us > 0)
    give_up(l);
  if (l->is_dead || l->calls.count == 0)
    return NEVER;
  if (now_us < l->heard_us + c->keepalive_time_us)
    return l->heard_us + c->keepalive_time_us;
  nghttp2_submit_ping(l->session, NGHTTP2_FLAG_NONE, NULL);
  l->pinged_us = now_us;
  return now_us + c->keepalive_timeout_us;
}
