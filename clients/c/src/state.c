/* A channel's states, as the program sees them. */
#include "internal.h"

void channel_set_state(struct auditstore_channel *c, enum auditstore_channel_state state) {
  if (c->state == state)
    return;
  c->state = state;
  c->changes++;
  channel_tell(c);
}

/* One thread tells at a time, so that the program hears the states in their order. */
void channel_tell_state(struct auditstore_channel *c) {
  while (c->told_state != c->state && !c->is_telling) {
    enum auditstore_channel_state state = c->state;
    c->told_state = state;
    if (!c->on_state)
      break;
    c->is_telling = true;
    pthread_mutex_unlock(&c->lock);
    c->on_state(c->on_state_arg, state);
    pthread_mutex_lock(&c->lock);
    c->is_telling = false;
  }
}

void channel_leave(struct auditstore_channel *c) {
  channel_tell_state(c);
  loop_arm(c);
  pthread_mutex_unlock(&c->lock);
}

const char *auditstore_channel_state_name(enum auditstore_channel_state state) {
  switch (state) {
  case AUDITSTORE_CHANNEL_IDLE:
    return "IDLE";
  case AUDITSTORE_CHANNEL_CONNECTING:
    return "CONNECTING";
  case AUDITSTORE_CHANNEL_READY:
    return "READY";
  case AUDITSTORE_CHANNEL_TRANSIENT_FAILURE:
    return "TRANSIENT_FAILURE";
  case AUDITSTORE_CHANNEL_SHUTDOWN:
    return "SHUTDOWN";
  default:
    return "UNKNOWN";
  }
}

void channel_look(struct auditstore_channel *c) {
  for (struct list_link *at = c->links.first; at; at = at->next)
    link_receive(LIST_ENTRY(at, struct link, entry));
}

enum auditstore_channel_state auditstore_channel_state(struct auditstore_channel *c,
                                                       bool connects) {
  pthread_mutex_lock(&c->lock);
  channel_look(c);
  c->wanted += connects;
  channel_turn(c);
  c->wanted -= connects;
  enum auditstore_channel_state state = c->state;
  channel_leave(c);
  return state;
}

static void explain_wait(struct auditstore_channel *c, struct auditstore_status *status) {
  if (c->state == AUDITSTORE_CHANNEL_SHUTDOWN)
    status_set(status, AUDITSTORE_UNAVAILABLE, "the channel was shut down");
  else
    status_set(status, AUDITSTORE_DEADLINE_EXCEEDED, "the channel is %s%s%s",
               auditstore_channel_state_name(c->state), c->failure.text[0] ? ": " : "",
               c->failure.text);
}

enum auditstore_code auditstore_channel_wait(struct auditstore_channel *c,
                                             enum auditstore_channel_state state, int timeout_ms,
                                             struct auditstore_status *status) {
  struct auditstore_status result = {0};
  int64_t deadline_us = timeout_to_deadline(timeout_ms);
  bool connects = state != AUDITSTORE_CHANNEL_IDLE && state != AUDITSTORE_CHANNEL_SHUTDOWN;
  pthread_mutex_lock(&c->lock);
  c->wanted += connects;
  channel_look(c);
  channel_turn(c);
  while (c->state != state && c->state != AUDITSTORE_CHANNEL_SHUTDOWN &&
         monotonic_us() < deadline_us)
    channel_wait(c, deadline_us);
  c->wanted -= connects;
  if (c->state != state)
    explain_wait(c, &result);
  channel_leave(c);
  return status_move(&result, status);
}

void auditstore_channel_shutdown(struct auditstore_channel *c) {
  pthread_mutex_lock(&c->lock);
  dial_abandon(c);
  channel_set_state(c, AUDITSTORE_CHANNEL_SHUTDOWN);
  calls_place(c);
  for (struct list_link *at = c->links.first; at; at = at->next)
    link_close(LIST_ENTRY(at, struct link, entry));
  channel_reap(c);
  channel_leave(c);
}
