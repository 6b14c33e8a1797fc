#include "pg/server_clock.h"

#include "base/alloc.h"
#include "base/log.h"
#include "pg/binary.h"

#include <assert.h>
#include <stdlib.h>

/* A clock without NTP drifts by some milliseconds in this time; jumps show at once anyway. */
#define READ_EVERY_US (30 * CLOCK_US_PER_S)
/* For a connection and the answer. Later ones would be of no use. */
#define READ_TIMEOUT_US (5 * CLOCK_US_PER_S)
/* After a refusal PostgreSQL is asked again so soon, and no sooner. */
#define READ_AGAIN_US CLOCK_US_PER_S
/* NTP keeps clocks within some milliseconds: a second is a fault, and still far from every bound
 * on event times, which begin at a second. */
#define TELL_ABOVE_US CLOCK_US_PER_S
/* How often a difference that stays is told. */
#define TELL_EVERY_US (3600 * CLOCK_US_PER_S)

/*
 *   idle ──timer──▶ waiter, for a connection ──▶ conn, with a question under way ──▶ idle
 */
struct server_clock {
  struct loop *loop; /* borrowed, as is the pool */
  struct pg_pool *pool;
  struct loop_timer timer;  /* the next question */
  struct pg_waiter *waiter; /* while queued for a connection */
  struct pg_lease *conn;    /* lease; while a question is under way */
  int64_t asked_us;         /* monotonic, as all times but server_us */
  int64_t answered_us;
  int64_t answer_us; /* PostgreSQL's; 0: it hasn't answered this question */

  bool is_known; /* the last good answer: */
  int64_t server_us;
  int64_t at_us; /* when it was server_us there */
  int64_t uncertainty_us;

  int64_t acquires; /* connections that the pool had lent when the last question ended */
  bool is_wanted;   /* a refusal asks for an answer */

  int64_t told_us; /* the difference logged last; 0: none is to be taken back */
  int64_t told_at_us;
  int64_t refusals;

  loop_task_cb *first;
  void *first_arg;
  bool is_started;
  bool is_closing;
  loop_task_cb *closed;
  void *closed_arg;
};

static int64_t now_us(const struct server_clock *clock) {
  return clock_monotonic_us(clock->loop->clock);
}

/* ---- the difference ---- */

struct clock_difference server_clock_difference(const struct server_clock *clock) {
  if (!clock->is_known)
    return (struct clock_difference){.is_known = false};
  int64_t server_us = clock->server_us + (now_us(clock) - clock->at_us);
  return (struct clock_difference){.is_known = true,
                                   .us = clock_wall_us(clock->loop->clock) - server_us,
                                   .uncertainty_us = clock->uncertainty_us};
}

static int64_t size_of(int64_t us) {
  return us < 0 ? -us : us;
}

bool clock_difference_is_certain(const struct clock_difference *difference) {
  return difference->is_known && size_of(difference->us) > difference->uncertainty_us;
}

/* ---- telling ---- */

static bool has_changed(int64_t told_us, int64_t us) {
  return (told_us < 0) != (us < 0) || size_of(us) > 2 * size_of(told_us) ||
         size_of(us) < size_of(told_us) / 2;
}

static void tell_difference(struct server_clock *clock, const struct clock_difference *difference) {
  if (clock->told_us && !has_changed(clock->told_us, difference->us) &&
      now_us(clock) - clock->told_at_us < TELL_EVERY_US)
    return;
  clock->told_us = difference->us;
  clock->told_at_us = now_us(clock);
  log_warn("this machine's clock and PostgreSQL's differ",
           KV("ahead_ms", difference->us / CLOCK_US_PER_MS),
           KV("uncertainty_ms", difference->uncertainty_us / CLOCK_US_PER_MS));
}

static void tell(struct server_clock *clock) {
  struct clock_difference difference = server_clock_difference(clock);
  if (!difference.is_known)
    return;
  if (size_of(difference.us) - difference.uncertainty_us > TELL_ABOVE_US) {
    tell_difference(clock, &difference);
  } else if (clock->told_us && size_of(difference.us) <= TELL_ABOVE_US) {
    clock->told_us = 0;
    log_info("this machine's clock and PostgreSQL's agree again",
             KV("ahead_ms", difference.us / CLOCK_US_PER_MS));
  }
}

void server_clock_count_refusal(struct server_clock *clock) {
  clock->refusals++;
  tell(clock);
  bool is_asking = clock->waiter || clock->conn;
  clock->is_wanted = true;
  if (clock->is_started && !clock->is_closing && !is_asking)
    loop_timer_set(&clock->timer, clock->answered_us + READ_AGAIN_US);
}

int64_t server_clock_refusals(const struct server_clock *clock) {
  return clock->refusals;
}

/* ---- asking ---- */

static void report_first(struct server_clock *clock) {
  loop_task_cb *first = clock->first;
  clock->first = NULL;
  if (first)
    first(clock->first_arg);
}

static int64_t count_acquires(const struct server_clock *clock) {
  struct pg_pool_stats stats;
  pg_pool_stats(clock->pool, &stats);
  return stats.acquires[PG_ACQUIRE_OK];
}

/* Whatever came of it: a pool that is down logs that itself, and what was known stays true. */
static void end_question(struct server_clock *clock) {
  clock->answered_us = now_us(clock);
  clock->acquires = count_acquires(clock);
  clock->is_wanted = false;
  loop_timer_set(&clock->timer, clock->answered_us + READ_EVERY_US);
  tell(clock);
  report_first(clock);
}

static void on_answer(void *arg, int statement, const PGresult *result) {
  struct server_clock *clock = arg;
  (void)statement;
  clock->answered_us = now_us(clock);
  if (PQntuples(result) != 1 || PQnfields(result) != 1 ||
      !pg_get_timestamptz(pg_field(result, 0, 0), &clock->answer_us))
    clock->answer_us = 0;
}

static void take_answer(struct server_clock *clock) {
  clock->is_known = true;
  clock->server_us = clock->answer_us;
  clock->uncertainty_us = (clock->answered_us - clock->asked_us) / 2;
  clock->at_us = clock->asked_us + clock->uncertainty_us;
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct server_clock *clock = arg;
  pg_release(clock->conn);
  clock->conn = NULL;
  if (outcome->kind == PG_OK && clock->answer_us)
    take_answer(clock);
  else
    log_debug("PostgreSQL's time not read", KV("error", outcome->err.text));
  end_question(clock);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  static const struct pg_statement statement = {.sql = "SELECT clock_timestamp()"};
  static const struct pg_pipeline_cb cb = {.on_result = on_answer, .on_done = on_done};
  struct server_clock *clock = arg;
  clock->waiter = NULL;
  if (!conn) {
    log_debug("PostgreSQL's time not read", KV("error", err->text));
    end_question(clock);
    return;
  }
  clock->conn = conn;
  clock->answer_us = 0;
  clock->asked_us = now_us(clock);
  pg_send(conn, &statement, NULL);
  pg_run(conn, clock->asked_us + READ_TIMEOUT_US, &cb, clock);
}

static void ask(struct server_clock *clock) {
  assert(!clock->waiter && !clock->conn);
  clock->waiter =
      pg_acquire(clock->pool, now_us(clock) + READ_TIMEOUT_US, "clock", on_acquired, clock);
}

/* A pool that nobody uses isn't kept awake: its connections may come to their idle time. */
static void on_timer(void *arg) {
  struct server_clock *clock = arg;
  if (clock->is_wanted || count_acquires(clock) != clock->acquires) {
    ask(clock);
    return;
  }
  tell(clock);
  loop_timer_set(&clock->timer, now_us(clock) + READ_EVERY_US);
}

/* ---- life cycle ---- */

struct server_clock *server_clock_new(struct loop *loop, struct pg_pool *pool) {
  struct server_clock *clock = xcalloc(1, sizeof(*clock));
  clock->loop = loop;
  clock->pool = pool;
  loop_timer_init(&clock->timer, loop, on_timer, clock);
  return clock;
}

void server_clock_start(struct server_clock *clock, loop_task_cb *first, void *arg) {
  assert(!clock->is_started && !clock->is_closing);
  clock->is_started = true;
  clock->first = first;
  clock->first_arg = arg;
  ask(clock);
}

static void on_timer_closed(void *arg) {
  struct server_clock *clock = arg;
  report_first(clock);
  clock->closed(clock->closed_arg);
}

void server_clock_close(struct server_clock *clock, loop_task_cb *closed, void *arg) {
  clock->is_closing = true;
  clock->closed = closed;
  clock->closed_arg = arg;
  if (clock->waiter)
    pg_acquire_cancel(clock->waiter);
  if (clock->conn)
    pg_release(clock->conn);
  clock->waiter = NULL;
  clock->conn = NULL;
  loop_timer_close(&clock->timer, on_timer_closed, clock);
}

void server_clock_free(struct server_clock *clock) {
  free(clock);
}
