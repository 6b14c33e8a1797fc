#include "grpc/share.h"

#include "grpc/session.h"

/* Three tenths of the time, and so much at once. With less a lone stream of gzip'd batches beside a
 * quiet connection was slowed down; with more an attacker's share shows in others' latency. */
#define SHARE_TENTHS 3
#define BURST_US     50000
/* Of one connection before others have their turn: a message may take so long, not several. */
#define TURN_US 10000
/* Taken in between two looks at the clock, and what each piece counts besides its bytes: half a
 * millisecond's work at most, and calls that do nothing don't pay for a look each. */
#define UNWATCHED_MAX_BYTES 4096
#define PIECE_BYTES         64
/* What is there when a rest ends, so that it isn't followed by another at once. */
#define RESTED_US 5000
/* Who was read no longer ago than this competes. */
#define COMPETES_US 100000

void grpc_share_init(struct grpc_share *share, int64_t now_us) {
  *share = (struct grpc_share){.left_us = BURST_US, .filled_us = now_us};
}

bool grpc_share_is_resting(const struct grpc_share *share) {
  return share->rest.slot > 0;
}

bool grpc_share_turn_is_over(struct grpc_session *session, size_t bytes) {
  struct grpc_share *share = &session->share;
  share->unwatched_bytes += bytes + PIECE_BYTES;
  if (share->unwatched_bytes < UNWATCHED_MAX_BYTES)
    return false;
  share->unwatched_bytes = 0;
  return clock_monotonic_us(session->server->loop->clock) - session->now_us >= TURN_US;
}

static bool competes(const struct grpc_session *session) {
  struct rivals *readers = &session->server->readers;
  rivals_note(readers, session->account->number, session->now_us);
  return rivals_compete(readers, session->now_us, COMPETES_US);
}

static void fill(struct grpc_share *share, int64_t now_us) {
  int64_t left_us = share->left_us + (now_us - share->filled_us) * SHARE_TENTHS / 10;
  share->left_us = left_us < BURST_US ? left_us : BURST_US;
  share->filled_us = now_us;
}

void grpc_share_charge(struct grpc_session *session) {
  struct grpc_share *share = &session->share;
  int64_t now_us = clock_monotonic_us(session->server->loop->clock);
  int64_t cost_us = now_us - session->now_us;
  if (!competes(session)) {
    share->left_us = BURST_US;
    share->filled_us = now_us;
    return;
  }
  fill(share, now_us);
  share->left_us -= cost_us;
  if (share->left_us >= 0 || grpc_share_is_resting(share))
    return;
  int64_t rest_us = (RESTED_US - share->left_us) * 10 / SHARE_TENTHS;
  session->server->stats.rests++;
  grpc_deadlines_add(&session->server->rests, &share->rest, now_us + rest_us);
}

void grpc_share_rested(struct grpc_deadline *rest) {
  struct grpc_share *share = LIST_ENTRY(rest, struct grpc_share, rest);
  grpc_session_update_reading(LIST_ENTRY(share, struct grpc_session, share));
}

void grpc_share_end(struct grpc_session *session) {
  grpc_deadlines_remove(&session->server->rests, &session->share.rest);
}
