#include "ingest/lane_private.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "ingest/answers.h"

#define BACKOFF_FIRST_US 5000LL
#define BACKOFF_MAX_US   (500LL * 1000)
/* How often the server may contradict itself about the same events before we give up. */
#define MAX_FRUITLESS   8
#define MAX_FORCE_TRIES 3
/* Timers may fire up to a millisecond early. */
#define TIMER_SLACK_US 1000

static void on_pause_over(void *arg) {
  lane_advance(arg);
}

/* ---- life cycle ---- */

struct lane *lane_new(const struct lane_env *env) {
  struct lane *lane = xcalloc(1, sizeof(*lane));
  lane->env = env;
  claim_init(&lane->claim);
  seal_init(&lane->seal);
  lane->appender = appender_new();
  loop_timer_init(&lane->pause, env->loop, on_pause_over, lane);
  return lane;
}

static void on_timer_closed(void *arg) {
  struct lane *lane = arg;
  loop_task_cb *closed = lane->closed;
  void *closed_arg = lane->closed_arg;
  batch_deinit(&lane->batch);
  seal_deinit(&lane->seal);
  appender_free(lane->appender);
  free(lane->matches);
  free(lane);
  closed(closed_arg);
}

static void end(struct lane *lane) {
  loop_timer_close(&lane->pause, on_timer_closed, lane);
}

void lane_close(struct lane *lane, loop_task_cb *closed, void *arg) {
  assert(lane->state == LANE_IDLE);
  lane->closed = closed;
  lane->closed_arg = arg;
  lane->state = LANE_CLOSING;
  lane_give_back(lane, end);
}

bool lane_is_idle(const struct lane *lane) {
  return lane->state == LANE_IDLE;
}

struct batch *lane_batch(struct lane *lane) {
  return &lane->batch;
}

static int64_t now_us(const struct lane *lane) {
  return clock_monotonic_us(lane->env->loop->clock);
}

static int64_t wall_us(const struct lane *lane) {
  return clock_wall_us(lane->env->loop->clock);
}

/* ---- answering ---- */

static void lane_answer(struct lane *lane) {
  struct list_link *link = NULL;
  while ((link = list_pop_front(&lane->batch.settled)))
    lane->env->answer(lane->env->arg, LIST_ENTRY(link, struct ingest_request, link));
}

void lane_release(struct lane *lane) {
  if (lane->conn)
    pg_release(lane->conn);
  lane->conn = NULL;
}

static void lane_finish(struct lane *lane) {
  lane_release(lane);
  loop_timer_set(&lane->pause, CLOCK_NEVER);
  lane_answer(lane);
  batch_clear(&lane->batch);
  lane->state = LANE_IDLE;
  lane_hand_over(lane);
  lane->env->on_change(lane->env->arg);
}

static struct grpc_status *expired_answer(const struct lane *lane,
                                          const struct ingest_request *request) {
  struct error down = lane->outage;
  if (lane->is_in_doubt)
    return answer_unknown();
  bool is_down = down.code != ERR_OK || pg_pool_is_down(lane->env->pool, &down);
  return answer_expired(request, is_down ? &down : NULL);
}

static void lane_expire(struct lane *lane) {
  int64_t limit_us = now_us(lane) + TIMER_SLACK_US;
  for (int i = 0; i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    if (request && request->expires_at_us <= limit_us)
      batch_settle(&lane->batch, i, expired_answer(lane, request));
  }
}

void lane_fail_all(struct lane *lane, lane_make_answer *make, const void *arg) {
  for (int i = 0; i < lane->batch.request_count; i++) {
    if (lane->batch.requests[i])
      batch_settle(&lane->batch, i, lane->is_in_doubt ? answer_unknown() : make(arg));
  }
}

static struct grpc_status *make_out_of_reach(const void *arg) {
  return answer_out_of_reach(arg);
}

static struct grpc_status *make_refused(const void *arg) {
  return answer_refused(arg);
}

static struct grpc_status *make_from_error(const void *arg) {
  return grpc_status_from_error(arg);
}

static struct grpc_status *make_contended(const void *arg) {
  (void)arg;
  return answer_contended();
}

static struct grpc_status *make_stopping(const void *arg) {
  (void)arg;
  return answer_stopping();
}

/* ---- pausing after trouble ---- */

/* Spreads lanes and daemons that failed together. Any odd multiplier does: no secret hangs on it.
 */
static int64_t jitter(struct lane *lane, int64_t delay_us) {
  lane->jitter = lane->jitter * 6364136223846793005ULL + (uint64_t)now_us(lane) * 2 + 1;
  return delay_us / 2 + (int64_t)((lane->jitter >> 33) % (uint64_t)delay_us) / 2;
}

void lane_pause(struct lane *lane) {
  int64_t delay_us = BACKOFF_FIRST_US;
  for (int i = 0; i < lane->trouble && delay_us < BACKOFF_MAX_US; i++)
    delay_us *= 2;
  lane->trouble++;
  lane->env->stats->retries++;
  lane->state = LANE_PAUSING;
  int64_t until_us = now_us(lane) + jitter(lane, delay_us);
  loop_timer_set(&lane->pause, deadline_min(until_us, batch_first_expiry(&lane->batch)));
}

/* ---- the connection ---- */

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct lane *lane = arg;
  lane->waiter = NULL;
  lane->conn = conn;
  lane->outage.code = ERR_OK;
  if (err)
    lane->outage = *err;
  bool is_our_deadline = batch_first_expiry(&lane->batch) <= now_us(lane) + TIMER_SLACK_US;
  if (err && lane->is_in_doubt && err->code != ERR_CANCELED) {
    lane_pause(lane);
    return;
  }
  if (err && !is_our_deadline)
    lane_fail_all(lane, make_out_of_reach, err);
  lane_advance(lane);
}

void lane_acquire(struct lane *lane) {
  lane->state = LANE_ACQUIRING;
  lane->waiter =
      pg_acquire(lane->env->pool, batch_first_expiry(&lane->batch), "ingest", on_acquired, lane);
}

/* ---- pipelines, and when they fail ---- */

static void lane_lost(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane->state == LANE_WRITING && outcome->is_in_doubt) {
    lane->is_in_doubt = true;
    lane->doubt_ledger_id = lane->target.ledger_id;
    lane->doubt_size = lane->target.edge.size;
    log_warn("commit in doubt", KV("ledger_id", lane->doubt_ledger_id),
             KV("tree_size", lane->doubt_size), KV("error", outcome->err.text));
  }
  lane->outage = outcome->err;
  lane->is_claimed = lane->is_claimed && lane->leader;
  lane_release(lane);
  lane_pause(lane);
}

static bool is_data_error(const struct pg_outcome *outcome) {
  return strncmp(outcome->sqlstate, "22", 2) == 0 || strncmp(outcome->sqlstate, "23", 2) == 0;
}

/* A row without a partition is a check violation that no constraint's name comes with. */
static bool is_missing_partition(const struct lane *lane, const struct pg_outcome *outcome) {
  return strcmp(outcome->sqlstate, "23514") == 0 && !outcome->constraint[0] &&
         lane->force_tries < MAX_FORCE_TRIES;
}

/* Halves the group down to the request that PostgreSQL doesn't take. */
static void lane_narrow(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane->batch.group_count > 1) {
    lane->group_limit = lane->batch.group_count / 2;
    lane->env->stats->bisections++;
    return;
  }
  log_warn("events refused by PostgreSQL", KV("sqlstate", outcome->sqlstate),
           KV("constraint", outcome->constraint));
  batch_settle(&lane->batch, lane->batch.slots[0].request, answer_refused(outcome));
}

static void lane_refused(struct lane *lane, const struct pg_outcome *outcome) {
  bool is_write = lane->state == LANE_WRITING;
  if (is_write && strcmp(outcome->sqlstate, "23505") == 0) {
    lane->needs_lookup = true;
  } else if (is_write && is_missing_partition(lane, outcome)) {
    lane->force_tries++;
    lane->is_ensure_forced = true;
    lane->ensured_month = INT_MIN;
    lane->known_until_us = lane->known_from_us;
    lane_release(lane);
  } else if (is_write && is_data_error(outcome)) {
    lane_narrow(lane, outcome);
  } else if (error_is_retryable(outcome->err.code)) {
    lane->outage = outcome->err;
    lane_release(lane);
    lane_pause(lane);
    return;
  } else {
    log_error("write refused by PostgreSQL", KV("sqlstate", outcome->sqlstate),
              KV("error", outcome->err.text));
    lane_fail_all(lane, make_refused, outcome);
  }
  lane_advance(lane);
}

bool lane_check(struct lane *lane, const struct pg_outcome *outcome) {
  if (outcome->kind == PG_OK && lane->read_error.code == ERR_OK)
    return true;
  if (outcome->kind == PG_LOST) {
    lane_lost(lane, outcome);
  } else if (outcome->kind == PG_REFUSED) {
    lane_refused(lane, outcome);
  } else {
    lane_fail_all(lane, make_from_error, &lane->read_error);
    lane_advance(lane);
  }
  return false;
}

void lane_run(struct lane *lane, enum lane_state state, const struct pg_pipeline_cb *cb) {
  lane->state = state;
  lane->read_error.code = ERR_OK;
  pg_run(lane->conn, batch_last_expiry(&lane->batch), cb, lane);
}

/* ---- what is stored already ---- */

static void on_matches(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  (void)statement;
  int count = append_match_count(result);
  if (count > lane->match_cap) {
    lane->matches = xrealloc(lane->matches, (size_t)count * sizeof(*lane->matches));
    lane->match_cap = count;
  }
  lane->match_count = count;
  for (int i = 0; i < count; i++) {
    if (append_read_match(result, i, &lane->matches[i], &lane->read_error) < 0)
      return;
  }
}

static void on_looked_up(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (!lane_check(lane, outcome))
    return;
  for (int i = 0; i < lane->match_count; i++)
    batch_mark_match(&lane->batch, &lane->matches[i],
                     lane->is_in_doubt ? lane->doubt_ledger_id : lane->claim.ledger_id);
  batch_mark_twins(&lane->batch);
  batch_settle_decided(&lane->batch);
  lane->needs_lookup = false;
  lane->cuts_twins = true;
  lane->is_in_doubt = lane->is_in_doubt && lane_is_where_doubt_began(lane);
  lane->fruitless = lane->match_count > 0 ? 0 : lane->fruitless + 1;
  if (lane->fruitless == MAX_FRUITLESS)
    lane_fail_all(lane, make_contended, NULL);
  lane_advance(lane);
}

static void lane_look_up(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_matches, .on_done = on_looked_up};
  batch_gather(&lane->batch, INT_MAX, false);
  append_send_lookup(lane->appender, lane->conn, lane->batch.items, lane->batch.item_count);
  lane_run(lane, LANE_LOOKING_UP, &cb);
}

/* ---- writing ---- */

static void lane_stale(struct lane *lane) {
  if (lane->is_behind) {
    lane_advance(lane);
    return;
  }
  if (!lane->is_in_doubt)
    log_warn("ledger was taken by another writer", KV("ledger_id", lane->claim.ledger_id),
             KV("tree_size", lane->claim.edge.size));
  lane->is_claimed = false;
  if (lane->trouble++ == 0) {
    lane_advance(lane);
    return;
  }
  lane_release(lane);
  lane_pause(lane);
}

static enum ingest_batch_result write_result(const struct pg_outcome *outcome) {
  if (outcome->kind == PG_LOST)
    return INGEST_BATCH_LOST;
  if (append_is_stale(outcome))
    return INGEST_BATCH_STALE;
  if (outcome->kind == PG_REFUSED)
    return INGEST_BATCH_REFUSED;
  return INGEST_BATCH_COMMITTED;
}

static void count_write(struct lane *lane, enum ingest_batch_result result) {
  struct ingest_stats *stats = lane->env->stats;
  stats->batches[result]++;
  if (result != INGEST_BATCH_COMMITTED)
    return;
  histogram_add(&stats->commit_us, now_us(lane) - lane->write_started_us);
  histogram_add(&stats->batch_events, lane->batch.item_count);
}

static void on_written(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  count_write(lane, write_result(outcome));
  if (append_is_stale(outcome)) {
    lane_stale(lane);
    return;
  }
  if (!lane_check(lane, outcome))
    return;
  batch_mark_written(&lane->batch, &(struct batch_place){.ledger_id = lane->target.ledger_id,
                                                         .sequence = lane->target.edge.size,
                                                         .committed_us = lane->seal.committed_us});
  batch_attach_proofs(&lane->batch, &lane->seal);
  lane->is_ahead = true;
  lane_move(lane);
  batch_settle_decided(&lane->batch);
  lane->needs_lookup = lane->batch.is_cut;
  lane->is_in_doubt = false;
  lane->trouble = lane->fruitless = lane->force_tries = 0;
  if (lane->group_limit < INT_MAX / 2)
    lane->group_limit *= 2;
  lane_advance(lane);
}

static void lane_aim(struct lane *lane) {
  lane->is_behind = lane->leader;
  lane->target = lane->claim;
  if (!lane->leader)
    return;
  lane->target = lane->leader->target;
  lane->target.edge = lane->leader->seal.growth.after;
}

/* Only all of a batch may be followed: what is left of it would come after the follower's. */
static bool is_worth_a_turn(const struct lane *lane) {
  const struct config_ingest *config = lane->env->config;
  return config->lanes > 1 && lane->batch.item_count >= config->min_split_events &&
         lane->batch.group_count == lane->batch.open_count && !lane->is_in_doubt;
}

/* The server inserts the events while they are hashed, and advances the ledger while their record
 * is signed. */
static void lane_send(struct lane *lane) {
  const struct batch *batch = &lane->batch;
  const struct claim *target = &lane->target;
  if (lane->has_turn)
    append_send_turn(lane->conn, target->ledger_id, target->edge.size);
  append_send_events(lane->appender, lane->conn, target, batch->items, batch->item_count);
  pg_push(lane->conn);
  seal_make(&lane->seal, target,
            &(struct seal_batch){batch->items, batch->item_count, wall_us(lane)});
  if (lane->leader)
    append_send_turn(lane->conn, target->ledger_id, lane->leader->target.edge.size);
  append_send_advance(lane->appender, lane->conn, target, &lane->seal, lane->env->ledger->lease_us);
  if (lane->env->signer->key)
    pg_push(lane->conn);
  seal_sign(&lane->seal, target->ledger_id, lane->env->signer);
  append_send_record(lane->appender, lane->conn, target, &lane->seal);
}

static void lane_write(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_done = on_written};
  batch_gather(&lane->batch, lane->group_limit, lane->cuts_twins);
  lane_aim(lane);
  lane->has_turn = is_worth_a_turn(lane);
  lane->write_started_us = now_us(lane);
  lane_send(lane);
  lane_run(lane, LANE_WRITING, &cb);
  if (lane->has_turn)
    lane->env->on_change(lane->env->arg);
}

/* ---- choosing the next step ---- */

void lane_advance(struct lane *lane) {
  int month = 0;
  lane_expire(lane);
  if (lane->batch.open_count == 0 && !lane->leader) {
    lane_finish(lane);
    return;
  }
  lane_answer(lane);
  if (lane->leader && !lane_can_follow(lane))
    lane_wait(lane);
  else if (!lane->conn && lane_missing_month(lane, &month))
    lane_ensure(lane, month);
  else if (!lane->conn)
    lane_acquire(lane);
  else if (!lane->leader && !lane->is_claimed)
    lane_claim(lane);
  else if (lane->needs_lookup)
    lane_look_up(lane);
  else
    lane_write(lane);
}

void lane_start(struct lane *lane) {
  assert(lane->state == LANE_IDLE);
  lane->group_limit = INT_MAX;
  lane->needs_lookup = lane->cuts_twins = false;
  lane->is_in_doubt = lane->is_ensure_forced = false;
  lane->is_behind = lane->is_ahead = false;
  lane->fruitless = lane->trouble = lane->force_tries = 0;
  lane->outage.code = ERR_OK;
  lane_advance(lane);
}

void lane_abort(struct lane *lane) {
  if (lane->state == LANE_IDLE)
    return;
  if (lane->waiter)
    pg_acquire_cancel(lane->waiter);
  lane->waiter = NULL;
  lane->is_in_doubt = lane->is_in_doubt || lane->state == LANE_WRITING;
  lane->is_claimed = lane->is_claimed && lane->state != LANE_WRITING;
  lane_fail_all(lane, make_stopping, NULL);
  if (lane->state == LANE_ENSURING)
    lane_answer(lane);
  else
    lane_finish(lane);
}
