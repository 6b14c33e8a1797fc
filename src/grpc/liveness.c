#include "grpc/liveness.h"

#include "base/clock.h"
#include "base/random.h"

/* As many as grpc-go and grpc-core forgive. */
#define MAX_STRIKES 2
/* The age is drawn from this share around it, so that clients that came together don't all come
 * back together (gRFC A9). */
#define AGE_JITTER_SHARE 10

static int64_t draw_age(int64_t age_us) {
  if (age_us == CLOCK_NEVER)
    return age_us;
  int64_t jitter_us = age_us / AGE_JITTER_SHARE;
  return age_us - jitter_us + random_below(2 * jitter_us);
}

void grpc_liveness_init(struct grpc_liveness *l, const struct config_server *config,
                        int64_t now_us) {
  *l = (struct grpc_liveness){
      .config = config,
      .read_us = now_us,
      .pong_deadline_us = CLOCK_NEVER,
      .idle_us = now_us,
      .age_deadline_us = deadline_after(now_us, draw_age(config->max_connection_age_us)),
      .grace_deadline_us = CLOCK_NEVER,
      .cut_deadline_us = CLOCK_NEVER,
      .ping_us = now_us - config->min_ping_interval_us,
  };
}

void grpc_liveness_read(struct grpc_liveness *l, int64_t now_us) {
  l->read_us = now_us;
  l->pong_deadline_us = CLOCK_NEVER;
}

void grpc_liveness_used(struct grpc_liveness *l) {
  l->strikes = 0;
}

bool grpc_liveness_pinged(struct grpc_liveness *l, int64_t now_us) {
  bool is_early = now_us - l->ping_us < l->config->min_ping_interval_us;
  l->ping_us = now_us;
  l->strikes += is_early;
  return l->strikes <= MAX_STRIKES;
}

/* ---- what is due ---- */

static bool take(int64_t *deadline_us, int64_t now_us) {
  if (*deadline_us > now_us)
    return false;
  *deadline_us = CLOCK_NEVER;
  return true;
}

static bool is_idle_for_long(struct grpc_liveness *l, bool has_calls, int64_t now_us) {
  if (has_calls)
    l->idle_us = CLOCK_NEVER;
  else if (l->idle_us == CLOCK_NEVER)
    l->idle_us = now_us;
  return l->idle_us != CLOCK_NEVER && now_us - l->idle_us >= l->config->max_connection_idle_us;
}

static enum grpc_liveness_need look_after_calls(struct grpc_liveness *l, bool has_calls,
                                                int64_t now_us) {
  if (is_idle_for_long(l, has_calls, now_us)) {
    l->idle_us = now_us;
    return GRPC_LIVENESS_IDLE;
  }
  if (take(&l->age_deadline_us, now_us)) {
    l->grace_deadline_us = deadline_after(now_us, l->config->max_connection_age_grace_us);
    return GRPC_LIVENESS_OLD;
  }
  if (take(&l->grace_deadline_us, now_us)) {
    l->cut_deadline_us = now_us + l->config->write_timeout_us;
    return GRPC_LIVENESS_GRACE;
  }
  return take(&l->cut_deadline_us, now_us) ? GRPC_LIVENESS_CUT : GRPC_LIVENESS_NOTHING;
}

enum grpc_liveness_need grpc_liveness_tick(struct grpc_liveness *l, bool has_calls,
                                           int64_t now_us) {
  if (take(&l->pong_deadline_us, now_us))
    return GRPC_LIVENESS_SILENT;
  if (l->pong_deadline_us == CLOCK_NEVER && now_us - l->read_us >= l->config->keepalive_time_us) {
    l->pong_deadline_us = now_us + l->config->keepalive_timeout_us;
    return GRPC_LIVENESS_PING;
  }
  return look_after_calls(l, has_calls, now_us);
}
