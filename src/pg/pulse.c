#include "pg/pulse.h"

#include <stdio.h>
#include <stdlib.h>

#include "pg/internal.h"
#include "pg/knock.h"

/* Asked for after this part of frozen_after. */
enum { ASK_PART = 3, DECIMAL = 10 };

/* After a pause of this process the answer may be there, unread. */
#define LAST_CALL_US (20 * CLOCK_US_PER_MS)

/* A question that may have been lost on the way is asked anew then. */
static int64_t question_ends_at(const struct pg_pool *pool, int64_t asked_us) {
  const struct config_database *config = pool->config;
  return deadline_after(asked_us, config->connect_timeout_us + config->frozen_after_us);
}

static int64_t ask_after_us(const struct pg_pool *pool) {
  return pool->config->frozen_after_us / ASK_PART;
}

/* Before the first dial has ended, and when dials fail and no connection is left, the governor
 * knows. */
static bool is_watching(const struct pg_pool *pool) {
  bool is_out_of_reach = pool->governor.is_failing && pg_pool_open(pool) == 0;
  return pool->config->frozen_after_us != CLOCK_NEVER && pool->pulse.has_endpoint &&
         !is_out_of_reach;
}

static void close_question(struct pg_pulse *pulse) {
  pg_knock_abandon(pulse->knock);
  pulse->knock = NULL;
  pulse->conn = NULL;
  pulse->asked_us = CLOCK_NEVER;
  pulse->is_last_call = false;
}

void pg_pulse_init(struct pg_pool *pool) {
  pool->pulse.asked_us = CLOCK_NEVER;
}

/* Comes with each byte: timers are left as they are, but for what was waited for. */
void pg_pulse_hear(struct pg_pool *pool) {
  struct pg_pulse *pulse = &pool->pulse;
  pulse->heard_us = pg_pool_now(pool);
  if (pulse->asked_us == CLOCK_NEVER && !pulse->is_frozen)
    return;
  close_question(pulse);
  pulse->is_frozen = false;
  pulse->look_at_us = deadline_after(pulse->heard_us, ask_after_us(pool));
  pg_pool_kick(pool);
}

void pg_pulse_note_endpoint(struct pg_lease *conn) {
  struct pg_pulse *pulse = &conn->pool->pulse;
  const char *address = PQhostaddr(conn->pq);
  const char *host = PQhost(conn->pq);
  const char *port = PQport(conn->pq);
  bool is_local = host && host[0] == '/';
  pulse->has_endpoint = port && (is_local || (address && address[0]));
  if (!pulse->has_endpoint)
    return;
  snprintf(pulse->endpoint.host, sizeof(pulse->endpoint.host), "%s", host);
  snprintf(pulse->endpoint.address, sizeof(pulse->endpoint.address), "%s", is_local ? "" : address);
  pulse->endpoint.port = (int)strtol(port, NULL, DECIMAL);
}

/* ---- asking ---- */

/* The answer is as far as ever: it is asked anew, later. */
static void give_up_question(struct pg_pool *pool, int64_t now_us) {
  close_question(&pool->pulse);
  pool->pulse.look_at_us = deadline_after(now_us, ask_after_us(pool));
  pg_pool_kick(pool);
}

/* Nobody is there, and no connection has noticed: a dial tells why. */
static void look_closer(struct pg_pool *pool) {
  bool has_room = pg_pool_occupied(pool) < pool->config->max_open_conns;
  if (pg_pool_open(pool) == 0 && pg_pool_dialing(pool) == 0 && has_room && !pool->is_draining)
    pg_dial_start(pg_pool_empty_slot(pool));
}

static void on_knocked(void *arg, bool is_answered) {
  struct pg_pool *pool = arg;
  pool->pulse.knock = NULL;
  if (is_answered) {
    pg_pulse_hear(pool);
    return;
  }
  give_up_question(pool, pg_pool_now(pool));
  look_closer(pool);
}

void pg_pulse_forget(struct pg_lease *conn) {
  if (conn->pool->pulse.conn == conn)
    give_up_question(conn->pool, pg_pool_now(conn->pool));
}

/* One that is frozen gets no connection more to be lost with. */
static void ask(struct pg_pool *pool, int64_t now_us) {
  struct pg_pulse *pulse = &pool->pulse;
  struct list_link *idle = pool->states[CONN_IDLE].last;
  pulse->asked_us = now_us;
  if (idle && !pulse->is_frozen) {
    pulse->conn = LIST_ENTRY(idle, struct pg_lease, link);
    pg_ping_for_pulse(pulse->conn, question_ends_at(pool, now_us));
    return;
  }
  pulse->knock = pg_knock_start(pool->loop, &pulse->endpoint, on_knocked, pool);
  if (!pulse->knock)
    give_up_question(pool, now_us);
}

/* ---- judging ---- */

static void judge(struct pg_pool *pool, int64_t now_us) {
  struct pg_pulse *pulse = &pool->pulse;
  if (!pulse->is_frozen && !pulse->is_last_call) {
    pulse->is_last_call = true;
    pulse->look_at_us = deadline_after(now_us, LAST_CALL_US);
    return;
  }
  pulse->is_frozen = true;
  pulse->look_at_us = question_ends_at(pool, pulse->asked_us);
  if (now_us < pulse->look_at_us)
    return;
  close_question(pulse);
  ask(pool, now_us);
}

static void look(struct pg_pool *pool, int64_t now_us) {
  struct pg_pulse *pulse = &pool->pulse;
  int64_t ask_at_us = deadline_after(pulse->heard_us, ask_after_us(pool));
  if (pulse->asked_us != CLOCK_NEVER) {
    judge(pool, now_us);
  } else if (!pulse->is_frozen && now_us < ask_at_us) {
    pulse->look_at_us = ask_at_us;
  } else {
    pulse->look_at_us = deadline_after(now_us, pool->config->frozen_after_us - ask_after_us(pool));
    ask(pool, now_us);
  }
}

void pg_pulse_run(struct pg_pool *pool, int64_t now_us) {
  struct pg_pulse *pulse = &pool->pulse;
  if (!is_watching(pool)) {
    close_question(pulse);
    pulse->is_frozen = false;
    pulse->heard_us = now_us;
    pulse->look_at_us = 0;
  } else if (now_us >= pulse->look_at_us) {
    look(pool, now_us);
  }
}

int64_t pg_pulse_next(const struct pg_pool *pool) {
  return is_watching(pool) ? pool->pulse.look_at_us : CLOCK_NEVER;
}

void pg_pulse_reset(struct pg_pool *pool) {
  close_question(&pool->pulse);
  pool->pulse.heard_us = pg_pool_now(pool);
  pool->pulse.look_at_us = 0;
}

void pg_pulse_stop(struct pg_pool *pool) {
  close_question(&pool->pulse);
}
