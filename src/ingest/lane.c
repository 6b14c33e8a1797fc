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
/* A claim looks at more than each write can: what was done to a partition, such as making it
 * UNLOGGED, is noticed after so long at most. */
#define CLAIM_AGAIN_US (60 * CLOCK_US_PER_S)
/* Timers may fire up to a millisecond early. */
#define TIMER_SLACK_US 1000

/* The pause is over; or, while the lane waits for its leader or makes sure of its ledger,
 * somebody's time is up. */
static void on_timer(void *arg) {
  struct lane *lane = arg;
  if (lane->state == LANE_CLAIMING)
    lane_watch_expiry(lane);
  else
    lane_advance(lane);
}

/* ---- life cycle ---- */

struct lane *lane_new(const struct lane_env *env) {
  struct lane *lane = xcalloc(1, sizeof(*lane));
  lane->env = env;
  claim_init(&lane->claim);
  seal_init(&lane->seal);
  lane->appender = appender_new();
  loop_timer_init(&lane->pause, env->loop, on_timer, lane);
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
  if (lane->is_in_doubt)
    return answer_unknown();
  if (lane->outage == ERR_OK && pg_pool_is_down(lane->env->pool, NULL))
    return answer_expired(request, ERR_UNAVAILABLE);
  return answer_expired(request, lane->outage);
}

static void lane_expire(struct lane *lane) {
  int64_t limit_us = now_us(lane) + TIMER_SLACK_US;
  for (int i = 0; i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    if (request && request->expires_at_us <= limit_us)
      batch_settle(&lane->batch, i, expired_answer(lane, request));
  }
}

void lane_watch_expiry(struct lane *lane) {
  lane_expire(lane);
  lane_answer(lane);
  loop_timer_set(&lane->pause, batch_first_expiry(&lane->batch));
}

void lane_fail_all(struct lane *lane, lane_make_answer *make, const void *arg) {
  for (int i = 0; i < lane->batch.request_count; i++) {
    if (lane->batch.requests[i])
      batch_settle(&lane->batch, i, lane->is_in_doubt ? answer_unknown() : make(arg));
  }
}

static struct grpc_status *make_no_connection(const void *arg) {
  const enum error_code *trouble = arg;
  return answer_no_connection(*trouble);
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
  lane->outage = err ? err->code : ERR_OK;
  bool is_our_deadline = batch_first_expiry(&lane->batch) <= now_us(lane) + TIMER_SLACK_US;
  if (err && lane->is_in_doubt && err->code != ERR_CANCELED) {
    lane_pause(lane);
    return;
  }
  if (err && !is_our_deadline)
    lane_fail_all(lane, make_no_connection, &err->code);
  lane_advance(lane);
}

void lane_acquire(struct lane *lane) {
  lane->state = LANE_ACQUIRING;
  lane->waiter =
      pg_acquire(lane->env->pool, batch_first_expiry(&lane->batch), "ingest", on_acquired, lane);
}

/* ---- pipelines ---- */

void lane_run(struct lane *lane, enum lane_state state, int64_t deadline_us,
              const struct pg_pipeline_cb *cb) {
  lane->state = state;
  lane->read_error.code = ERR_OK;
  pg_run(lane->conn, deadline_us, cb, lane);
}

/* ---- what is stored already ---- */

static void on_matches(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  if (statement > 0)
    return;
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
  lane->batch.moved_us = now_us(lane);
  lane->needs_lookup = false;
  lane->leaves_repeats = true;
  lane->is_in_doubt = lane->is_in_doubt && lane_is_where_doubt_began(lane);
  lane->fruitless = lane->match_count > 0 ? 0 : lane->fruitless + 1;
  lane_advance(lane);
}

static void lane_look_up(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_matches, .on_done = on_looked_up};
  batch_gather(&lane->batch, &batch_all);
  append_send_lookup(lane->appender, lane->conn, lane->batch.items, lane->batch.item_count);
  lane_run(lane, LANE_LOOKING_UP, batch_last_expiry(&lane->batch), &cb);
}

/* ---- writing ---- */

static enum ingest_batch_result write_result(const struct pg_outcome *outcome) {
  if (outcome->kind == PG_LOST)
    return INGEST_BATCH_LOST;
  if (append_is_stale(outcome))
    return INGEST_BATCH_STALE;
  if (append_is_altered(outcome))
    return INGEST_BATCH_ALTERED;
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

static int doubled(int limit) {
  return limit < INT_MAX / 2 ? 2 * limit : INT_MAX;
}

/* Within a request as long as some of it is left, which then stands first. */
static void lane_widen(struct lane *lane) {
  const struct batch *batch = &lane->batch;
  bool is_within = lane->item_limit < INT_MAX && batch->requests[batch->slots[0].request];
  lane->item_limit = is_within ? doubled(lane->item_limit) : INT_MAX;
  if (!is_within)
    lane->group_limit = doubled(lane->group_limit);
}

static void on_written(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  count_write(lane, write_result(outcome));
  if (!lane_check_write(lane, outcome))
    return;
  ledger_memory_note(lane->env->memory, lane->target.ledger_id,
                     &(struct ledger_head){lane->seal.growth.after.size, lane->seal.root});
  batch_mark_written(&lane->batch, &(struct batch_place){.ledger_id = lane->target.ledger_id,
                                                         .sequence = lane->target.edge.size,
                                                         .committed_us = lane->seal.committed_us});
  batch_attach_proofs(&lane->batch, &lane->seal);
  lane->is_ahead = true;
  lane_move(lane);
  batch_settle_decided(&lane->batch);
  lane->batch.moved_us = now_us(lane);
  lane->is_in_doubt = false;
  lane->trouble = lane->fruitless = lane->force_tries = lane->unexplained = 0;
  lane_widen(lane);
  lane_advance(lane);
}

static void lane_aim(struct lane *lane) {
  const struct lane *leader = lane->leader;
  lane->is_behind = leader;
  lane->target = lane->claim;
  lane->compares = lane->must_compare || (leader ? leader->compares : lane->claim.is_watched);
  if (!leader)
    return;
  lane->target = leader->target;
  lane->target.edge = leader->seal.growth.after;
  lane->target.committed_us = leader->seal.committed_us;
}

/* Only all of a batch may be followed: what is left of it would come after the follower's. */
static bool is_worth_a_turn(const struct lane *lane) {
  const struct config_ingest *config = lane->env->config;
  return config->lanes > 1 && lane->batch.item_count >= config->min_split_events &&
         lane->batch.group_count == lane->batch.open_count && lane->item_limit == INT_MAX &&
         !lane->is_in_doubt;
}

/* The claim asks PostgreSQL whether it is the ledger that is ahead, or this clock behind. */
static void lane_tell_clock(struct lane *lane, int64_t behind_us) {
  lane->env->stats->clock_held++;
  if (lane->is_clock_told)
    return;
  lane->is_clock_told = true;
  lane->must_claim = !lane->leader;
  log_warn("the clock is behind the ledger's last record, whose time is used",
           KV("ledger_id", lane->target.ledger_id),
           KV("seconds", (double)behind_us / CLOCK_US_PER_S));
}

/* The records of a ledger are in the order of their times, also when the clock was set back. */
static int64_t commit_time(struct lane *lane) {
  int64_t now = wall_us(lane);
  int64_t last_us = lane->target.committed_us;
  if (now < last_us)
    lane_tell_clock(lane, last_us - now);
  else
    lane->is_clock_told = false;
  return now < last_us ? last_us : now;
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
            &(struct seal_batch){batch->items, batch->item_count, commit_time(lane)});
  if (lane->leader)
    append_send_turn(lane->conn, target->ledger_id, lane->leader->target.edge.size);
  append_send_advance(lane->appender, lane->conn, target, &lane->seal, lane->env->ledger->lease_us);
  if (lane->env->signer->key)
    pg_push(lane->conn);
  seal_sign(&lane->seal, target->ledger_id, lane->env->signer);
  append_send_record(lane->appender, lane->conn, target, &lane->seal);
  if (lane->compares)
    append_send_compare(lane->appender, lane->conn, target, &lane->seal, batch->items);
}

/* Where a refusal would be about rows. */
static void lane_number_statements(struct lane *lane) {
  lane->events_statement = lane->has_turn ? 1 : 0;
  lane->compare_statement =
      lane->events_statement + (lane->leader ? 1 : 0) + append_count_before_compare(&lane->seal);
}

static void lane_write(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_done = on_written, .is_answer = append_is_answer};
  batch_gather(&lane->batch, &(struct batch_bounds){.max_requests = lane->group_limit,
                                                    .max_items = lane->item_limit,
                                                    .leaves_repeats = lane->leaves_repeats});
  lane_aim(lane);
  lane->has_turn = is_worth_a_turn(lane);
  lane->write_started_us = now_us(lane);
  lane_send(lane);
  lane_number_statements(lane);
  lane_run(lane, LANE_WRITING, batch_last_expiry(&lane->batch), &cb);
  if (lane->has_turn)
    lane->env->on_change(lane->env->arg);
}

/* ---- choosing the next step ---- */

void lane_advance(struct lane *lane) {
  int month = 0;
  loop_timer_set(&lane->pause, CLOCK_NEVER);
  lane_expire(lane);
  if (lane->batch.open_count == 0 && !lane->leader) {
    lane_finish(lane);
    return;
  }
  /* What was written behind the leader's batch is answered behind it. */
  if (!lane->is_ahead)
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
  lane->group_limit = lane->item_limit = INT_MAX;
  lane->must_compare = lane->is_stale = lane->is_in_the_way = false;
  lane->is_refusal_told = false;
  lane->unexplained = lane->unreadable = lane->suspected = lane->raced = 0;
  lane->needs_lookup = lane->leaves_repeats = false;
  lane->is_in_doubt = lane->is_ensure_forced = false;
  lane->is_behind = lane->is_ahead = false;
  lane->fruitless = lane->trouble = lane->force_tries = 0;
  lane->outage = ERR_OK;
  lane->is_claimed =
      lane->is_claimed && !lane->must_claim && now_us(lane) - lane->claimed_at_us < CLAIM_AGAIN_US;
  lane->must_claim = false;
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
