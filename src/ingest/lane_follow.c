/*
 * A lane that writes behind another: a stream that fills a ledger faster than one connection can
 * takes two by turns.
 */
#include <assert.h>

#include "ingest/lane_private.h"

static bool is_where_sent(const struct lane *lane) {
  return lane->claim.ledger_id == lane->target.ledger_id &&
         lane->claim.edge.size == lane->target.edge.size;
}

/* One whose claim is elsewhere follows itself, or was sent behind a batch that failed. */
bool lane_may_be_followed(const struct lane *lane) {
  return lane->state == LANE_WRITING && lane->has_turn && !lane->follower && is_where_sent(lane);
}

void lane_start_behind(struct lane *lane, struct lane *leader) {
  assert(lane_may_be_followed(leader));
  lane->leader = leader;
  leader->follower = lane;
  lane_start(lane);
}

bool lane_can_follow(const struct lane *lane) {
  const struct lane *leader = lane->leader;
  return lane->batch.open_count > 0 && !lane->is_behind && leader->state == LANE_WRITING &&
         leader->has_turn;
}

void lane_wait(struct lane *lane) {
  lane_release(lane);
  lane->state = LANE_FOLLOWING;
  loop_timer_set(&lane->pause, batch_first_expiry(&lane->batch));
}

void lane_move(struct lane *lane) {
  if (lane->leader || !lane->is_ahead)
    return;
  if (is_where_sent(lane)) {
    lane->claim.edge = lane->seal.growth.after;
    lane->claim.committed_us = lane->seal.committed_us;
  }
  lane->is_ahead = false;
}

static void exchange_claims(struct lane *a, struct lane *b) {
  struct claim claim = a->claim;
  bool is_claimed = a->is_claimed;
  bool may_hold = a->may_hold;
  bool must_claim = a->must_claim;
  bool is_clock_told = a->is_clock_told;
  int64_t claimed_at_us = a->claimed_at_us;
  a->claim = b->claim;
  a->is_claimed = b->is_claimed;
  a->may_hold = b->may_hold;
  a->must_claim = b->must_claim;
  a->is_clock_told = b->is_clock_told;
  a->claimed_at_us = b->claimed_at_us;
  b->claim = claim;
  b->is_claimed = is_claimed;
  b->may_hold = may_hold;
  b->must_claim = must_claim;
  b->is_clock_told = is_clock_told;
  b->claimed_at_us = claimed_at_us;
}

/* A write in doubt is looked for where it was sent: the claim has to be made sure of. */
static void lane_lead(struct lane *lane) {
  lane->leader = NULL;
  lane->is_claimed = lane->is_claimed && !lane->is_in_doubt;
  lane_move(lane);
  if (lane->state == LANE_FOLLOWING)
    lane_advance(lane);
}

void lane_hand_over(struct lane *lane) {
  struct lane *follower = lane->follower;
  if (lane->leader) /* aborted */
    lane->leader->follower = NULL;
  lane->leader = lane->follower = NULL;
  if (!follower)
    return;
  exchange_claims(lane, follower);
  lane_lead(follower);
}
