#include "ingest/lane.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "ingest/answers.h"

#define BACKOFF_FIRST_US 5000LL
#define BACKOFF_MAX_US   (500LL * 1000)
/* How often the server may contradict itself about the same events before we give up. */
#define MAX_FRUITLESS   8
#define MAX_FORCE_TRIES 3
/* Timers may fire up to a millisecond early. */
#define TIMER_SLACK_US 1000

/*
 * One step is under way at a time; when it has ended, lane_advance() picks the next one from what
 * is known, so that any failure leads back to one place:
 *
 *   IDLE ─▶ [ENSURING] ─▶ ACQUIRING ─▶ [OPENING] ─▶ [LOOKING_UP] ─▶ WRITING ─▶ IDLE
 *              ▲                                                      │
 *              └────────────── PAUSING (after trouble) ◀──────────────┘
 */
enum lane_state {
  LANE_IDLE,
  LANE_ENSURING,   /* a partition is being made */
  LANE_ACQUIRING,  /* waiting for a connection */
  LANE_OPENING,    /* asking for the ledger's size */
  LANE_LOOKING_UP, /* asking which events are stored already */
  LANE_WRITING,
  LANE_PAUSING,
};

struct lane {
  const struct lane_env *env; /* borrowed */
  struct append_place place;  /* where the next event goes, when has_size */
  bool has_size;
  enum lane_state state;
  struct appender *appender; /* owned */
  struct pg_lease *conn;     /* leased, or NULL */
  struct pg_waiter *waiter;  /* while ACQUIRING */
  struct loop_timer pause;
  loop_task_cb *closed;
  void *closed_arg;

  /* the batch in hand */
  struct batch batch;
  int group_limit;   /* requests written together: halved when data is refused */
  bool needs_lookup; /* some of the events may be stored already */
  bool cuts_twins;
  bool is_in_doubt; /* a write may have been committed, or may be yet, from doubt_size on */
  int64_t doubt_size;
  int fruitless; /* duplicates reported, none found: in a row */
  int trouble;   /* failures in a row, for the pause */
  uint64_t jitter;
  struct error outage; /* the last reason for not reaching PostgreSQL; code 0: none */
  int force_tries;     /* missing partitions reported by the server */
  int ensured_month;   /* while forced: the last one made */
  bool is_ensure_forced;

  /* months that are known to exist lie side by side: the last one seen, as times */
  int64_t known_from_us, known_until_us;

  /* the answer of the pipeline under way, not to be acted on before it has ended */
  bool was_written;
  int64_t write_started_us;
  int64_t read_size;
  struct append_match *matches; /* owned */
  int match_count;
  int match_cap;
  struct error read_error;
};

static void lane_advance(struct lane *lane);

static void on_pause_over(void *arg) {
  lane_advance(arg);
}

/* ---- life cycle ---- */

struct lane *lane_new(const struct lane_env *env, int64_t ledger_id) {
  struct lane *lane = xcalloc(1, sizeof(*lane));
  lane->env = env;
  lane->place.ledger_id = ledger_id;
  lane->appender = appender_new();
  loop_timer_init(&lane->pause, env->loop, on_pause_over, lane);
  return lane;
}

static void on_timer_closed(void *arg) {
  struct lane *lane = arg;
  loop_task_cb *closed = lane->closed;
  void *closed_arg = lane->closed_arg;
  batch_deinit(&lane->batch);
  appender_free(lane->appender);
  free(lane->matches);
  free(lane);
  closed(closed_arg);
}

void lane_close(struct lane *lane, loop_task_cb *closed, void *arg) {
  assert(lane->state == LANE_IDLE);
  lane->closed = closed;
  lane->closed_arg = arg;
  loop_timer_close(&lane->pause, on_timer_closed, lane);
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

static void lane_release(struct lane *lane) {
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
  lane->env->on_idle(lane->env->arg);
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

/* Every open request gets an answer of its own from `make`. */
static void lane_fail_all(struct lane *lane, struct grpc_status *make(const void *arg),
                          const void *arg) {
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

static void lane_pause(struct lane *lane) {
  int64_t delay_us = BACKOFF_FIRST_US;
  for (int i = 0; i < lane->trouble && delay_us < BACKOFF_MAX_US; i++)
    delay_us *= 2;
  lane->trouble++;
  lane->env->stats->retries++;
  lane->state = LANE_PAUSING;
  int64_t until_us = now_us(lane) + jitter(lane, delay_us);
  loop_timer_set(&lane->pause, deadline_min(until_us, batch_first_expiry(&lane->batch)));
}

/* ---- partitions ---- */

static bool month_is_known(struct lane *lane, int64_t time_us) {
  if (time_us >= lane->known_from_us && time_us < lane->known_until_us)
    return true;
  int month = timestamp_month(time_us);
  if (!partitions_has(lane->env->partitions, month))
    return false;
  lane->known_from_us = timestamp_month_start_us(month);
  lane->known_until_us = timestamp_month_start_us(month + 1);
  return true;
}

/* After the server said that a partition is missing, what is known doesn't count: each month of the
 * batch is made once. */
static bool month_is_missing(struct lane *lane, int64_t time_us, int *ret_month) {
  if (!lane->is_ensure_forced && month_is_known(lane, time_us))
    return false;
  int month = timestamp_month(time_us);
  if (lane->is_ensure_forced && month <= lane->ensured_month)
    return false;
  if (month < *ret_month)
    *ret_month = month;
  return true;
}

/* The earliest month of the open requests that has to be made. */
static bool lane_missing_month(struct lane *lane, int *ret_month) {
  bool is_missing = false;
  *ret_month = INT_MAX;
  for (int i = 0; i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    for (int j = 0; request && j < request->count; j++)
      is_missing = month_is_missing(lane, request->events[j].time_us, ret_month) || is_missing;
  }
  lane->is_ensure_forced = lane->is_ensure_forced && is_missing;
  return is_missing;
}

static bool request_has_month(const struct ingest_request *request, int month) {
  int64_t from_us = timestamp_month_start_us(month);
  int64_t until_us = timestamp_month_start_us(month + 1);
  for (int i = 0; i < request->count; i++) {
    if (request->events[i].time_us >= from_us && request->events[i].time_us < until_us)
      return true;
  }
  return false;
}

static void on_ensured(void *arg, const struct error *err) {
  struct lane *lane = arg;
  bool is_worth_retry =
      err && error_is_retryable(err->code) && !pg_pool_is_down(lane->env->pool, NULL);
  if (is_worth_retry && lane->batch.open_count > 0) {
    lane->outage = *err;
    lane_pause(lane);
    return;
  }
  for (int i = 0; err && i < lane->batch.request_count; i++) {
    const struct ingest_request *request = lane->batch.requests[i];
    if (request && request_has_month(request, lane->ensured_month))
      batch_settle(&lane->batch, i, grpc_status_from_error(err));
  }
  lane_advance(lane);
}

static void lane_ensure(struct lane *lane, int month) {
  lane->state = LANE_ENSURING;
  lane->ensured_month = month;
  partitions_ensure(lane->env->partitions, month, batch_first_expiry(&lane->batch), on_ensured,
                    lane);
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

static void lane_acquire(struct lane *lane) {
  lane->state = LANE_ACQUIRING;
  lane->waiter =
      pg_acquire(lane->env->pool, batch_first_expiry(&lane->batch), "ingest", on_acquired, lane);
}

/* ---- when a pipeline fails ---- */

static void lane_lost(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane->state == LANE_WRITING && outcome->is_in_doubt) {
    lane->is_in_doubt = true;
    lane->doubt_size = lane->place.size;
    log_warn("commit in doubt", KV("ledger_id", lane->place.ledger_id),
             KV("tree_size", lane->place.size), KV("error", outcome->err.text));
  }
  lane->outage = outcome->err;
  lane->has_size = false;
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

/* Whether the pipeline did what it was sent for; if not, the next step is under way. */
static bool lane_check(struct lane *lane, const struct pg_outcome *outcome) {
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

static void lane_run(struct lane *lane, enum lane_state state, const struct pg_pipeline_cb *cb) {
  lane->state = state;
  lane->read_error.code = ERR_OK;
  pg_run(lane->conn, batch_last_expiry(&lane->batch), cb, lane);
}

/* ---- the ledger's size ---- */

static void on_size(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  (void)statement;
  append_read_size(result, &lane->read_size, &lane->read_error);
}

/* A ledger that stands where it stood has not taken the write in doubt, and the compare keeps both
 * from getting in. One that has moved may hold it, and can't take it any more. */
static void on_opened(void *arg, const struct pg_outcome *outcome) {
  struct lane *lane = arg;
  if (!lane_check(lane, outcome))
    return;
  lane->has_size = true;
  lane->place.size = lane->read_size;
  if (lane->is_in_doubt && lane->place.size != lane->doubt_size)
    lane->needs_lookup = true;
  lane_advance(lane);
}

static void lane_open(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_size, .on_done = on_opened};
  append_send_open(lane->conn, lane->place.ledger_id);
  lane_run(lane, LANE_OPENING, &cb);
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
    batch_mark_match(&lane->batch, &lane->matches[i], lane->place.ledger_id, wall_us(lane));
  batch_mark_twins(&lane->batch);
  batch_settle_decided(&lane->batch);
  lane->needs_lookup = false;
  lane->cuts_twins = true;
  lane->is_in_doubt = lane->is_in_doubt && lane->place.size == lane->doubt_size;
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

static void on_insert(void *arg, int statement, const PGresult *result) {
  struct lane *lane = arg;
  (void)statement;
  lane->was_written = append_was_written(result, lane->batch.item_count);
}

static void lane_stale(struct lane *lane) {
  if (!lane->is_in_doubt)
    log_warn("ledger was advanced by another writer", KV("ledger_id", lane->place.ledger_id),
             KV("tree_size", lane->place.size));
  lane->has_size = false;
  if (lane->trouble++ == 0) {
    lane_advance(lane);
    return;
  }
  lane_release(lane);
  lane_pause(lane);
}

static enum ingest_batch_result write_result(const struct lane *lane,
                                             const struct pg_outcome *outcome) {
  if (outcome->kind == PG_LOST)
    return INGEST_BATCH_LOST;
  if (outcome->kind == PG_REFUSED)
    return INGEST_BATCH_REFUSED;
  return lane->was_written ? INGEST_BATCH_COMMITTED : INGEST_BATCH_STALE;
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
  count_write(lane, write_result(lane, outcome));
  if (!lane_check(lane, outcome))
    return;
  if (!lane->was_written) {
    lane_stale(lane);
    return;
  }
  batch_mark_written(&lane->batch, lane->place, wall_us(lane));
  lane->place.size += lane->batch.item_count;
  batch_settle_decided(&lane->batch);
  lane->needs_lookup = lane->batch.is_cut;
  lane->is_in_doubt = false;
  lane->trouble = lane->fruitless = lane->force_tries = 0;
  if (lane->group_limit < INT_MAX / 2)
    lane->group_limit *= 2;
  lane_advance(lane);
}

static void lane_write(struct lane *lane) {
  static const struct pg_pipeline_cb cb = {.on_result = on_insert, .on_done = on_written};
  batch_gather(&lane->batch, lane->group_limit, lane->cuts_twins);
  lane->was_written = false;
  lane->write_started_us = now_us(lane);
  append_send(lane->appender, lane->conn, lane->place, lane->batch.items, lane->batch.item_count);
  lane_run(lane, LANE_WRITING, &cb);
}

/* ---- choosing the next step ---- */

static void lane_advance(struct lane *lane) {
  int month = 0;
  lane_expire(lane);
  if (lane->batch.open_count == 0) {
    lane_finish(lane);
    return;
  }
  lane_answer(lane);
  if (!lane->conn && lane_missing_month(lane, &month))
    lane_ensure(lane, month);
  else if (!lane->conn)
    lane_acquire(lane);
  else if (!lane->has_size)
    lane_open(lane);
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
  lane->has_size = lane->has_size && lane->state != LANE_WRITING;
  lane_fail_all(lane, make_stopping, NULL);
  if (lane->state == LANE_ENSURING)
    lane_answer(lane);
  else
    lane_finish(lane);
}
