#include "pg/refusals.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "pg/internal.h"

#define TELL_EVERY_US (60 * CLOCK_US_PER_S)
/* How long the server's state is thought to be what made it refuse. */
#define SERVER_TROUBLE_US (60 * CLOCK_US_PER_S)

/* What stands for a SQLSTATE where none came; NULL: it isn't told. */
static const char *code_of(const struct pg_outcome *outcome) {
  if (outcome->sqlstate[0])
    return outcome->sqlstate;
  if (outcome->err.code == ERR_CANCELED)
    return NULL; /* we stop */
  return outcome->err.code == ERR_TIMEOUT ? PG_REFUSAL_TIMEOUT : PG_REFUSAL_LOST;
}

static struct pg_refusals_told *find(struct pg_refusals *refusals, const char *code) {
  struct pg_refusals_told *oldest = &refusals->told[0];
  for (int i = 0; i < refusals->count; i++) {
    struct pg_refusals_told *told = &refusals->told[i];
    if (strcmp(told->sqlstate, code) == 0)
      return told;
    if (told->told_at_us < oldest->told_at_us)
      oldest = told;
  }
  if (refusals->count < PG_REFUSALS_TOLD_MAX)
    oldest = &refusals->told[refusals->count++];
  *oldest = (struct pg_refusals_told){0};
  snprintf(oldest->sqlstate, sizeof(oldest->sqlstate), "%s", code);
  return oldest;
}

static void tell(struct pg_lease *conn, const char *code) {
  const struct pg_outcome *outcome = &conn->pipeline.outcome;
  int64_t now_us = pg_pool_now(conn->pool);
  struct pg_refusals_told *told = find(&conn->pool->refusals, code);
  if (told->told_at_us != 0 && now_us < deadline_after(told->told_at_us, TELL_EVERY_US)) {
    told->left_out++;
    return;
  }
  log_warn(outcome->sqlstate[0] ? "refused by PostgreSQL" : "no answer from PostgreSQL",
           KV("sqlstate", outcome->sqlstate), KV("error", outcome->err.text),
           KV("holder", conn->holder), KV("left_out", told->left_out));
  told->told_at_us = now_us;
  told->left_out = 0;
}

/* Out of room or memory, I/O errors, its own faults: no matter what is asked of it. */
static bool is_servers_state(const char *sqlstate) {
  static const char *const classes[] = {"53", "58", "XX"};
  for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
    if (strncmp(sqlstate, classes[i], 2) == 0)
      return true;
  }
  return false;
}

void pg_refusal_note(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  const struct pipeline *pipeline = &conn->pipeline;
  const char *code = code_of(&pipeline->outcome);
  /* Dials and signs of life have words and numbers of their own. */
  if (!code || conn->state != CONN_LEASED)
    return;
  if (pipeline->cb.is_answer && pipeline->cb.is_answer(&pipeline->outcome))
    return;
  pool->counters.refusals[pg_refusal_label_of(code)]++;
  if (is_servers_state(code)) {
    memcpy(pool->refusals.server_sqlstate, code, sizeof(pool->refusals.server_sqlstate));
    pool->refusals.server_at_us = pg_pool_now(pool);
  }
  tell(conn, code);
}

const char *pg_refusals_server_sqlstate(const struct pg_pool *pool) {
  const struct pg_refusals *refusals = &pool->refusals;
  bool is_recent = pg_pool_now(pool) < deadline_after(refusals->server_at_us, SERVER_TROUBLE_US);
  return refusals->server_sqlstate[0] && is_recent ? refusals->server_sqlstate : NULL;
}
