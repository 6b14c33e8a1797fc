/*
 * What can become of a lane's pipeline instead of what it was sent for, and which step that leads
 * to.
 */
#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "ingest/answers.h"
#include "ingest/lane_private.h"

/* How often the server may contradict itself about the same events before they are looked at one by
 * one. */
#define MAX_FRUITLESS   3
#define MAX_FORCE_TRIES 3

static struct grpc_status *make_refused(const void *arg) {
  return answer_refused(arg);
}

static struct grpc_status *make_altered(const void *arg) {
  (void)arg;
  return answer_altered();
}

static struct grpc_status *make_unreadable(const void *arg) {
  (void)arg;
  return answer_out_of_order();
}

void lane_fail_altered(struct lane *lane) {
  lane_fail_all(lane, make_altered, NULL);
}

/* ---- no answer ---- */

static void lane_lost(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane->state == LANE_WRITING && outcome->is_in_doubt) {
    lane->is_in_doubt = true;
    lane->doubt_ledger_id = lane->target.ledger_id;
    lane->doubt_size = lane->target.edge.size;
    log_warn("commit in doubt", KV("ledger_id", lane->doubt_ledger_id),
             KV("tree_size", lane->doubt_size), KV("error", outcome->err.text));
  }
  lane->outage = outcome->err.code;
  lane->is_claimed = lane->is_claimed && lane->leader;
  lane_release(lane);
  lane_pause(lane);
}

/* ---- some of the events are at fault ---- */

/* One event is answered alone, or the request that is nothing without it. */
static void settle_first(struct lane *lane, struct grpc_status *answer) {
  struct batch *batch = &lane->batch;
  const struct batch_slot *slot = &batch->slots[0];
  struct ingest_request *request = batch->requests[slot->request];
  if (lane->is_in_doubt) {
    grpc_status_free(answer);
    batch_settle(batch, slot->request, answer_unknown());
    return;
  }
  if (request->is_atomic) {
    batch_settle(batch, slot->request, answer);
    return;
  }
  request->results[slot->index].status = answer;
  batch_settle_decided(batch);
}

/* Halves what is written at once down to the request, and within one that may be stored in part to
 * the event. False: that is what it is at already. */
static bool lane_narrow(struct lane *lane) {
  const struct batch *batch = &lane->batch;
  bool is_divisible = batch->item_count > 1 && !batch->requests[batch->slots[0].request]->is_atomic;
  if (batch->group_count > 1) {
    lane->group_limit = batch->group_count / 2;
  } else if (is_divisible) {
    lane->group_limit = 1;
    lane->item_limit = batch->item_count / 2;
  } else {
    return false;
  }
  lane->env->stats->bisections++;
  return true;
}

static void lane_refuse_some(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane_narrow(lane))
    return;
  lane->item_limit = INT_MAX;
  lane->fruitless = 0;
  settle_first(lane, answer_refused_request(outcome, lane->batch.item_count));
}

/* ---- refusals ---- */

/* A row without a partition is a check violation that no constraint's name comes with. */
static bool is_missing_partition(const struct lane *lane, const struct pg_outcome *outcome) {
  return strcmp(outcome->sqlstate, "23514") == 0 && !outcome->constraint[0] &&
         lane->force_tries < MAX_FORCE_TRIES;
}

static bool has_class(const char *sqlstate, const char *const classes[], size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
      return true;
  }
  return false;
}

/* Whether it is about rows, so that others would be taken: what triggers and constraints raise, by
 * whatever code, and not what is wrong with a statement, a session or the server. */
static bool is_about_rows(const struct lane *lane, const struct pg_outcome *outcome) {
  static const char *const others[] = {"0A", "25", "28", "2F", "3D", "3F", "42", "F0", "HV", "XX"};
  /* What waits for the commit is called before the comparison, where there is one. */
  bool is_put_off = outcome->is_at_commit ||
                    (lane->compares && outcome->statement == lane->compare_statement - 1);
  return (outcome->statement == lane->events_statement || is_put_off) &&
         !error_is_retryable(outcome->err.code) &&
         !has_class(outcome->sqlstate, others, sizeof(others) / sizeof(others[0]));
}

static void make_partitions(struct lane *lane) {
  lane->force_tries++;
  lane->is_ensure_forced = true;
  lane->ensured_month = INT_MIN;
  lane->known_until_us = lane->known_from_us;
  lane_release(lane);
}

/* True: the lane waits for better times. */
static bool lane_refused(struct lane *lane, const struct pg_outcome *outcome) {
  bool is_write = lane->state == LANE_WRITING;
  bool is_duplicate = strcmp(outcome->sqlstate, "23505") == 0;
  if (is_write && is_duplicate && lane->fruitless < MAX_FRUITLESS) {
    lane->needs_lookup = true;
  } else if (is_write && is_missing_partition(lane, outcome)) {
    make_partitions(lane);
  } else if (is_write && is_about_rows(lane, outcome)) {
    lane_refuse_some(lane, outcome);
  } else if (error_is_retryable(outcome->err.code)) {
    lane->outage = outcome->err.code;
    lane_release(lane);
    lane_pause(lane);
    return true;
  } else {
    lane_fail_all(lane, make_refused, outcome);
  }
  return false;
}

/* What can't be read isn't ours to use: a ledger whose rows are why is left for another. What is
 * wrong with a table or a right, or with the second one too, the callers hear of. */
static void lane_unreadable(struct lane *lane, const struct error *err, bool is_in_rows) {
  lane->env->stats->unreadable++;
  log_error("what PostgreSQL answers about the ledgers can't be read", KV("error", err->text));
  if (is_in_rows && lane->unreadable++ == 0) {
    lane_abandon(lane);
    return;
  }
  lane_fail_all(lane, make_unreadable, NULL);
  lane_advance(lane);
}

bool lane_check(struct lane *lane, const struct pg_outcome *outcome) {
  if (outcome->kind == PG_OK && lane->read_error.code == ERR_OK)
    return true;
  bool is_final = !error_is_retryable(outcome->err.code);
  if (outcome->kind == PG_LOST)
    lane_lost(lane, outcome);
  else if (outcome->kind == PG_OK)
    lane_unreadable(lane, &lane->read_error, lane->state == LANE_CLAIMING);
  else if (lane->state == LANE_CLAIMING && is_final)
    lane_unreadable(lane, &outcome->err, strncmp(outcome->sqlstate, "22", 2) == 0);
  else if (!lane_refused(lane, outcome))
    lane_advance(lane);
  return false;
}

/* ---- writes ---- */

static void lane_stale(struct lane *lane, const struct pg_outcome *outcome) {
  if (lane->is_behind) {
    lane_advance(lane);
    return;
  }
  lane->is_stale = true;
  lane->is_in_the_way = append_is_in_the_way(outcome);
  lane->is_claimed = false;
  if (lane->trouble++ == 0) {
    lane_advance(lane);
    return;
  }
  lane_release(lane);
  lane_pause(lane);
}

static bool is_about_altered_rows(const struct lane *lane, const struct pg_outcome *outcome) {
  return outcome->statement == lane->events_statement ||
         (lane->compares && outcome->statement == lane->compare_statement);
}

static void lane_refuse_altered(struct lane *lane, const struct pg_outcome *outcome) {
  bool is_about_rows = is_about_altered_rows(lane, outcome);
  if (is_about_rows && lane_narrow(lane))
    return;
  if (!lane->is_refusal_told)
    log_error("the database drops or changes what is written; nothing of that is acknowledged",
              KV("statement", outcome->statement), KV("sqlstate", outcome->sqlstate),
              KV("findings", (const char *)lane->env->surroundings->text));
  lane->is_refusal_told = true;
  lane->item_limit = INT_MAX;
  if (is_about_rows)
    settle_first(lane, answer_altered());
  else
    lane_fail_altered(lane);
}

/* Claiming anew tells what stands on the tables now; from then on the batch's rows are compared,
 * so that those which arrive whole can be told from the others. */
static void lane_altered(struct lane *lane, const struct pg_outcome *outcome) {
  if (append_may_have_stale_plans(outcome)) {
    pg_discard(lane->conn);
    lane->conn = NULL;
  }
  lane->is_claimed = lane->is_claimed && lane->leader;
  if (lane->must_compare && !lane->is_behind)
    lane_refuse_altered(lane, outcome);
  lane->must_compare = true;
  lane_advance(lane);
}

bool lane_check_write(struct lane *lane, const struct pg_outcome *outcome) {
  if (append_is_stale(outcome))
    lane_stale(lane, outcome);
  else if (append_is_altered(outcome))
    lane_altered(lane, outcome);
  else
    return lane_check(lane, outcome);
  return false;
}
