/*
 * A lane and its ledger: it claims one when it has something to write, keeps it as long as nobody
 * takes it, and gives it back at the end.
 */
#include "base/log.h"
#include "ingest/lane_private.h"

/* Giving a ledger back is a courtesy: others can claim it once its lease is over. */
#define GIVE_BACK_TIMEOUT_US (1000LL * 1000)

/* ---- claiming ---- */

bool lane_is_where_doubt_began(const struct lane *lane) {
  return lane->claim.ledger_id == lane->doubt_ledger_id &&
         lane->claim.edge.size == lane->doubt_size;
}

static void on_suspect_marked(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (lane_check(lane, outcome))
    lane_advance(lane);
}

/* Whatever it is, appending to it would cover it up. */
static void lane_suspect(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_done = on_suspect_marked};
  int64_t ledger_id = lane->answer.ledger_id;
  log_error("ledger doesn't fit together; nothing is appended to it", KV("ledger_id", ledger_id),
            KV("reason", lane->answer.reason));
  lane->env->stats->suspects++;
  lane->claim.ledger_id = 0;
  claim_send_suspect(lane->conn, &lane->claim, ledger_id);
  lane_run(lane, LANE_CLAIMING, &cb);
}

static void on_claim_read(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  if (statement == CLAIM_STATEMENTS - 1)
    claim_read(result, lane->env->signer, lane->seal.hasher, &lane->answer, &lane->read_error);
}

/* A ledger that stands where it stood has not taken the write in doubt, and the compare keeps both
 * from getting in. One that has moved may hold it; and neither that one nor one that is another's
 * by now can take it any more. */
static void hold(struct lane *lane) {
  if (lane->answer.ledger_id != lane->claim.ledger_id) {
    lane->env->stats->claims++;
    log_info("ledger claimed", KV("ledger_id", lane->answer.ledger_id),
             KV("tree_size", lane->answer.edge.size));
  }
  lane->claim.ledger_id = lane->answer.ledger_id;
  lane->claim.edge = lane->answer.edge;
  lane->is_claimed = true;
  if (lane->is_in_doubt && !lane_is_where_doubt_began(lane))
    lane->needs_lookup = true;
}

static void on_claimed(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (!lane_check(lane, outcome))
    return;
  switch (lane->answer.verdict) {
  case CLAIM_HELD:
    hold(lane);
    lane_advance(lane);
    break;
  case CLAIM_RACED:
    lane->claim.ledger_id = 0;
    lane_release(lane);
    lane_pause(lane);
    break;
  case CLAIM_SUSPECT:
    lane_suspect(lane);
    break;
  }
}

void lane_claim(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_claim_read, .on_done = on_claimed};
  claim_send(lane->conn, &lane->claim, lane->env->ledger->lease_us);
  lane_run(lane, LANE_CLAIMING, &cb);
}

/* ---- giving back ---- */

static void gave_back(struct lane *lane) {
  lane_release(lane);
  lane->given_back(lane);
}

static void on_given_back(void *arg, const struct pg_outcome *outcome) {
  (void)outcome;
  gave_back(arg);
}

static int64_t give_back_deadline(const struct lane *lane) {
  return clock_monotonic_us(lane->env->loop->clock) + GIVE_BACK_TIMEOUT_US;
}

static void on_last_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_pipeline_cb cb = {.on_done = on_given_back};
  struct lane *lane = arg;
  (void)err;
  lane->waiter = NULL;
  lane->conn = conn;
  if (!conn) {
    gave_back(lane);
    return;
  }
  claim_send_release(conn, &lane->claim);
  pg_run(conn, give_back_deadline(lane), &cb, lane);
}

void lane_give_back(struct lane *lane, void done(struct lane *lane)) {
  lane->given_back = done;
  if (lane->claim.ledger_id == 0 || pg_pool_is_down(lane->env->pool, NULL)) {
    done(lane);
    return;
  }
  lane->waiter =
      pg_acquire(lane->env->pool, give_back_deadline(lane), "ingest", on_last_acquired, lane);
}
