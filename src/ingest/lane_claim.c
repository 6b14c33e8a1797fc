/*
 * A lane and its ledger: it claims one when it has something to write, keeps it as long as nobody
 * takes it, and gives it back at the end.
 */
#include "base/log.h"
#include "ingest/lane_private.h"

#include <string.h>

/* Giving a ledger back is a courtesy: others can claim it once its lease is over. */
#define GIVE_BACK_TIMEOUT_US (1000LL * 1000)
/* Longer than callers' deadlines may be: a claim that ends with each of theirs would never be had
 * while the server is slow. As long as the default lock_timeout. */
#define CLAIM_TIMEOUT_US (10LL * 1000 * 1000)
/* How often a ledger that stands as it is known may refuse a write: once, another writer's doing.
 */
#define MAX_UNEXPLAINED 1
/* Several daemons that start together race once or twice. */
#define RACES_TOLD 5
/* Marks that a trigger swallows would be set again and again. */
#define MAX_LEFT_AT_ONCE 3

static int64_t deadline_in(const struct lane *lane, int64_t delay_us) {
  return clock_monotonic_us(lane->env->loop->clock) + delay_us;
}

/* Those whose time is up meanwhile are answered. */
static void run_claiming(struct lane *lane, const struct pg_pipeline_cb *cb) {
  lane_run(lane, LANE_CLAIMING, deadline_in(lane, CLAIM_TIMEOUT_US), cb);
  loop_timer_set(&lane->pause, batch_first_expiry(&lane->batch));
}

/* ---- ledgers that are left alone ---- */

bool lane_is_where_doubt_began(const struct lane *lane) {
  return lane->claim.ledger_id == lane->doubt_ledger_id &&
         lane->claim.edge.size == lane->doubt_size;
}

static void on_left(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (!lane_check(lane, outcome))
    return;
  if (++lane->suspected <= MAX_LEFT_AT_ONCE) {
    lane_advance(lane);
    return;
  }
  lane_release(lane);
  lane_pause(lane);
}

static const struct pg_pipeline_cb left_cb = {.on_done = on_left};

/* Whatever it is, appending to it would cover it up, and what was signed would be signed again. */
static void lane_suspect(struct lane *lane, const char *reason) {
  int64_t ledger_id = lane->answer.ledger_id;
  log_error("suspect ledger; nothing is appended to it, and another is taken",
            KV("ledger_id", ledger_id), KV("tree_size", lane->answer.edge.size),
            KV("known_size", lane->answer.known.size), KV("reason", reason));
  lane->env->stats->suspects++;
  if (lane->answer.is_contradicted)
    ledger_memory_end_epoch(lane->env->memory);
  lane->claim.ledger_id = 0;
  lane->is_stale = lane->is_in_the_way = false;
  lane->unexplained = 0;
  claim_send_suspect(lane->conn, &lane->claim, ledger_id);
  run_claiming(lane, &left_cb);
}

/* Nothing is wrong with it, but it isn't gone on with. */
static void lane_leave(struct lane *lane, const char *reason) {
  log_warn("ledger is closed, and another is taken", KV("ledger_id", lane->answer.ledger_id),
           KV("reason", reason));
  lane->claim.ledger_id = 0;
  claim_send_close(lane->conn, &lane->claim, lane->answer.ledger_id);
  run_claiming(lane, &left_cb);
}

void lane_abandon(struct lane *lane) {
  lane->env->stats->suspects++;
  lane->claim.ledger_id = 0;
  claim_send_suspect(lane->conn, &lane->claim, 0);
  run_claiming(lane, &left_cb);
}

/* ---- what stands on the tables ---- */

static void lane_note_surroundings(struct lane *lane) {
  const struct surroundings *now = &lane->answer.surroundings;
  struct surroundings *before = lane->env->surroundings;
  bool is_news = strcmp(now->text, before->text) != 0;
  lane->env->stats->foreign_objects = now->count;
  *before = *now;
  if (!is_news)
    return;
  if (now->count == 0)
    log_info("on the tables stands nothing any more that isn't ours");
  else
    log_warn("on the tables stands what isn't ours", KV("count", now->count),
             KV("writes_go_on", !now->is_blocking), KV("findings", (const char *)now->text));
}

/* ---- claiming ---- */

static void on_claim_read(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  const struct claim_judge judge = {
      .signer = lane->env->signer, .hasher = lane->seal.hasher, .memory = lane->env->memory};
  /* What stands on the tables counts, whatever else can't be read: it may be why. */
  struct error err = {0};
  if (claim_read(&lane->answer, statement, result, &judge, &err) < 0)
    lane->read_error = err;
}

/* A write that was refused because of the ledger's row, and the row is as it was then. */
static bool is_unexplained(const struct lane *lane) {
  const struct claim_answer *answer = &lane->answer;
  return lane->is_stale && answer->ledger_id == lane->claim.ledger_id &&
         answer->edge.size == lane->claim.edge.size;
}

static void take_over(struct lane *lane) {
  const struct claim_answer *answer = &lane->answer;
  const struct ledger_head head = {answer->edge.size,
                                   merkle_edge_root(&answer->edge, lane->seal.hasher)};
  lane->claim.ledger_id = answer->ledger_id;
  lane->claim.edge = answer->edge;
  lane->claim.committed_us = answer->committed_us;
  lane->claim.fingerprint = answer->surroundings.fingerprint;
  lane->claim.is_watched = answer->surroundings.is_watched;
  ledger_memory_note(lane->env->memory, answer->ledger_id, &head);
  lane->is_claimed = true;
  lane->claimed_at_us = clock_monotonic_us(lane->env->loop->clock);
  lane->is_stale = lane->is_in_the_way = false;
  lane->unreadable = lane->raced = 0;
}

/* A ledger that stands where it stood has not taken the write in doubt, and the compare keeps both
 * from getting in. One that has moved may hold it; and neither that one nor one that is another's
 * by now can take it any more. */
static void hold(struct lane *lane) {
  if (lane->answer.ledger_id != lane->claim.ledger_id) {
    lane->env->stats->claims++;
    if (lane->is_stale && !lane->is_in_doubt && lane->claim.ledger_id)
      log_warn("ledger was taken by another writer", KV("ledger_id", lane->claim.ledger_id),
               KV("tree_size", lane->claim.edge.size));
    log_info("ledger claimed", KV("ledger_id", lane->answer.ledger_id),
             KV("tree_size", lane->answer.edge.size));
  }
  take_over(lane);
  if (lane->is_in_doubt && !lane_is_where_doubt_began(lane))
    lane->needs_lookup = true;
  lane_advance(lane);
}

/* The tables that are written to have to be good before a ledger is. */
static void hold_or_suspect(struct lane *lane) {
  lane->unexplained = is_unexplained(lane) ? lane->unexplained + 1 : 0;
  if (lane->unexplained > 0 && lane->is_in_the_way)
    lane_suspect(lane, "a row stands where its next record or node belongs");
  else if (lane->unexplained > MAX_UNEXPLAINED)
    lane_suspect(lane, "its row refuses what it ought to take");
  else
    hold(lane);
}

/* ---- its past ---- */

static void on_recalled(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  (void)statement;
  lane->is_recalled = claim_read_recall(result, &lane->answer.known);
}

static void on_recall_done(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (!lane_check(lane, outcome))
    return;
  lane->answer.is_contradicted = !lane->is_recalled;
  if (lane->is_recalled)
    hold_or_suspect(lane);
  else
    lane_suspect(lane, "it has another past than this daemon knew it to have");
}

static void lane_recall(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_recalled, .on_done = on_recall_done};
  lane->is_recalled = false;
  claim_send_recall(lane->conn, &lane->claim, lane->answer.ledger_id, lane->answer.known.size);
  run_claiming(lane, &cb);
}

/* Whether the ledger that the lane had is gone, which others may know nothing of. */
static bool is_gone(const struct lane *lane, struct ledger_head *ret_known) {
  return lane->answer.is_gone && lane->claim.ledger_id != 0 &&
         ledger_memory_find(lane->env->memory, lane->claim.ledger_id, ret_known) &&
         ret_known->size > 0;
}

/* What was claimed in its place, if it was made for that, has an id that may have been used on the
 * copy that answered before. */
static bool left_for_gone(struct lane *lane) {
  struct ledger_head known;
  if (!is_gone(lane, &known))
    return false;
  log_error(
      "a ledger that this daemon wrote to is gone from the database: was an older copy "
      "restored?",
      KV("ledger_id", lane->claim.ledger_id), KV("known_size", known.size));
  lane->env->stats->suspects++;
  ledger_memory_end_epoch(lane->env->memory);
  lane->claim.ledger_id = 0;
  bool is_new = lane->answer.verdict == CLAIM_HELD && lane->answer.edge.size == 0;
  if (is_new)
    lane_leave(lane, "its id may have been used on another copy of the database");
  return is_new;
}

/* By both clocks: what was appended to it would be dated so as well. */
static bool is_ahead_of_time(const struct lane *lane) {
  const struct claim_answer *answer = &lane->answer;
  return (answer->verdict == CLAIM_HELD || answer->verdict == CLAIM_GREW) && answer->is_ahead &&
         answer->committed_us > clock_wall_us(lane->env->loop->clock) + CLAIM_AHEAD_US;
}

static void lane_race_again(struct lane *lane) {
  if (++lane->raced == RACES_TOLD)
    log_warn(
        "no ledger can be claimed: is the row of the table store there, and can it be changed?",
        KV("tries", lane->raced));
  lane->claim.ledger_id = 0;
  lane_release(lane);
  lane_pause(lane);
}

static void judge(struct lane *lane) {
  if (left_for_gone(lane))
    return;
  if (is_ahead_of_time(lane)) {
    lane_leave(lane, "its last record lies in the future");
    return;
  }
  switch (lane->answer.verdict) {
  case CLAIM_HELD:
    hold_or_suspect(lane);
    break;
  case CLAIM_GREW:
    lane_recall(lane);
    break;
  case CLAIM_RACED:
    lane_race_again(lane);
    break;
  case CLAIM_SUSPECT:
    lane_suspect(lane, lane->answer.reason);
    break;
  case CLAIM_UNPROVED:
    lane_leave(lane, "it was never signed, and there is a key by now");
    break;
  }
}

static void on_claimed(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (outcome->kind == PG_OK)
    lane_note_surroundings(lane);
  if (outcome->kind == PG_OK && lane->answer.surroundings.is_blocking) {
    lane_fail_altered(lane);
    lane_advance(lane);
  } else if (lane_check(lane, outcome)) {
    judge(lane);
  }
}

void lane_claim(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_claim_read, .on_done = on_claimed};
  lane->may_hold = true;
  lane->answer = (struct claim_answer){.verdict = CLAIM_RACED};
  claim_send(lane->conn, &lane->claim, lane->env->ledger->lease_us,
             ledger_memory_last_id(lane->env->memory) + 1);
  run_claiming(lane, &cb);
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
  pg_run(conn, deadline_in(lane, GIVE_BACK_TIMEOUT_US), &cb, lane);
}

void lane_give_back(struct lane *lane, void done(struct lane *lane)) {
  lane->given_back = done;
  if (!lane->may_hold || pg_pool_is_down(lane->env->pool, NULL)) {
    done(lane);
    return;
  }
  lane->waiter = pg_acquire(lane->env->pool, deadline_in(lane, GIVE_BACK_TIMEOUT_US), "ingest",
                            on_last_acquired, lane);
}
