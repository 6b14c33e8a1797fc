#include "ledger/partitions.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "ledger/partition_round.h"

#include <stdlib.h>

/* Of one round, all its statements together. */
#define ROUND_TIMEOUT_US (60LL * 1000 * 1000)
/* After a failed round; a shorter partition_check_every goes before. */
#define RETRY_EVERY_US (30LL * 1000 * 1000)
/* Before a month is refused, the catalog has been read so lately. */
#define FRESH_US (10LL * 1000 * 1000)
/* Requests come from writers that wait for an answer, so there are never many. */
#define MAX_REQUESTS 4096

struct request {
  struct list_link link; /* in waiting, or in ended */
  int month;
  int64_t deadline_us;
  partitions_cb *cb;
  void *arg;
  struct error err; /* in ended: code 0 is success */
};

struct partitions {
  struct loop *loop; /* borrowed, as the next two */
  struct pg_pool *pool;
  const struct config_storage *config;
  struct month_set known;
  int known_count;
  int64_t known_us;    /* when that was read; CLOCK_NEVER: not yet */
  int64_t locks_told;  /* of one query: what the log warned of last */
  struct list waiting; /* requests no finished round has answered */
  struct list ended;   /* requests whose callback is to run */
  struct loop_task end_task;
  struct loop_task round_task;
  struct loop_timer check_timer;
  struct loop_timer deadline_timer; /* the earliest of the waiting requests */
  partitions_cb *first;             /* NULL once it has run */
  void *first_arg;
  loop_task_cb *closed;
  void *closed_arg;
  int open_timers;
  bool is_in_round;
  bool is_started; /* the months around now are wanted as well */
  bool is_closing;
};

static int64_t now_us(const struct partitions *p) {
  return clock_monotonic_us(p->loop->clock);
}

/* ---- requests ---- */

static void run_ended(void *arg) {
  struct partitions *p = arg;
  struct list_link *next = p->ended.first;
  p->ended = (struct list){.first = NULL};
  for (struct list_link *link = next; link; link = next) {
    next = link->next;
    struct request *request = LIST_ENTRY(link, struct request, link);
    request->cb(request->arg, request->err.code ? &request->err : NULL);
    free(request);
  }
}

/* `err` NULL: the month exists. */
static void request_end(struct partitions *p, struct request *request, const struct error *err) {
  if (err)
    request->err = *err;
  list_push_back(&p->ended, &request->link);
  loop_defer(p->loop, &p->end_task);
}

static void arm_deadline(struct partitions *p) {
  int64_t at_us = CLOCK_NEVER;
  for (struct list_link *link = p->waiting.first; link; link = link->next)
    at_us = deadline_min(at_us, LIST_ENTRY(link, struct request, link)->deadline_us);
  loop_timer_set(&p->deadline_timer, at_us);
}

static void on_deadline(void *arg) {
  struct partitions *p = arg;
  struct list_link *next = NULL;
  for (struct list_link *link = p->waiting.first; link; link = next) {
    next = link->next;
    struct request *request = LIST_ENTRY(link, struct request, link);
    if (request->deadline_us > now_us(p))
      continue;
    struct error err;
    char name[MONTH_NAME_SIZE];
    month_partition_name(request->month, name);
    error_set(&err, ERR_TIMEOUT, "partition %s wasn't made in time", name);
    list_remove(&p->waiting, link);
    request_end(p, request, &err);
  }
  arm_deadline(p);
}

/* Answers what the report can answer. Requests that came after the round had started, for months it
 * wasn't asked for, stay for the next. */
static void answer_requests(struct partitions *p, const struct month_set *asked,
                            const struct error *err) {
  struct list_link *next = NULL;
  for (struct list_link *link = p->waiting.first; link; link = next) {
    next = link->next;
    struct request *request = LIST_ENTRY(link, struct request, link);
    bool exists = month_set_has(&p->known, request->month);
    if (!exists && !(err && month_set_has(asked, request->month)))
      continue;
    list_remove(&p->waiting, link);
    request_end(p, request, exists ? NULL : err);
  }
  arm_deadline(p);
}

/* ---- rounds ---- */

/* The months kept ready. */
static int first_ready(const struct partitions *p) {
  return timestamp_month(clock_wall_us(p->loop->clock)) - 1;
}

static int last_ready(const struct partitions *p) {
  return first_ready(p) + 1 + p->config->partitions_ahead;
}

static void add_months_around_now(const struct partitions *p, struct month_set *wanted) {
  for (int month = first_ready(p); month <= last_ready(p); month++) {
    if (month_is_valid(month))
      month_set_add(wanted, month);
  }
}

static void partitions_finish_close(struct partitions *p);

struct round_context {
  struct partitions *partitions;
  struct month_set asked;
  bool is_scheduled; /* the months around now are among them */
};

static void schedule_check(struct partitions *p, bool has_failed) {
  int64_t pause_us = p->config->partition_check_every_us;
  if (has_failed && pause_us > RETRY_EVERY_US)
    pause_us = RETRY_EVERY_US;
  loop_timer_set(&p->check_timer, now_us(p) + pause_us);
}

static void report_first(struct partitions *p, const struct error *err) {
  partitions_cb *first = p->first;
  p->first = NULL;
  if (first)
    first(p->first_arg, err);
}

/* A share of the server's locks that one query may take before it is time to say so: fewer queries
 * than this at once would take all of them. */
#define LOCK_SHARE 8

static void warn_of_locks(struct partitions *p, const struct partition_report *report) {
  int64_t locks = report->locks_of_query;
  bool is_much = report->lock_slots > 0 && locks * LOCK_SHARE > report->lock_slots;
  if (!is_much || locks <= p->locks_told)
    return;
  p->locks_told = locks;
  log_warn("many partitions", KV("months", p->known_count), KV("locks_of_a_query", locks),
           KV("locks_of_the_server", report->lock_slots),
           KV("advice",
              "a query without times locks every partition and index: raise PostgreSQL's "
              "max_locks_per_transaction, or drop months that nobody needs"));
}

static void take_report(struct partitions *p, const struct partition_report *report) {
  if (report->err)
    log_debug("partitions not all made", KV("error", report->err->text));
  if (!report->existing)
    return;
  p->known = *report->existing;
  p->known_count = month_set_count(&p->known);
  p->known_us = now_us(p);
  warn_of_locks(p, report);
}

static void on_round(void *arg, const struct partition_report *report) {
  struct round_context *context = arg;
  struct partitions *p = context->partitions;
  p->is_in_round = false;
  take_report(p, report);
  answer_requests(p, &context->asked, report->err);
  bool was_scheduled = context->is_scheduled;
  free(context);
  if (p->is_closing) {
    partitions_finish_close(p);
    return;
  }
  if (p->waiting.count > 0 || (p->is_started && !was_scheduled))
    loop_defer(p->loop, &p->round_task);
  if (was_scheduled) {
    schedule_check(p, report->err != NULL);
    report_first(p, report->err);
  }
}

static void start_round(void *arg) {
  struct partitions *p = arg;
  if (p->is_in_round || p->is_closing)
    return;
  p->is_in_round = true;
  loop_timer_set(&p->check_timer, CLOCK_NEVER);
  struct round_context *context = xcalloc(1, sizeof(*context));
  context->partitions = p;
  context->is_scheduled = p->is_started;
  if (context->is_scheduled)
    add_months_around_now(p, &context->asked);
  for (struct list_link *link = p->waiting.first; link; link = link->next)
    month_set_add(&context->asked, LIST_ENTRY(link, struct request, link)->month);
  partition_round_start(p->pool, now_us(p) + ROUND_TIMEOUT_US, &context->asked, on_round, context);
}

/* ---- the module ---- */

struct partitions *partitions_new(struct loop *loop, struct pg_pool *pool,
                                  const struct config_storage *config) {
  struct partitions *p = xcalloc(1, sizeof(*p));
  p->loop = loop;
  p->pool = pool;
  p->config = config;
  p->end_task = (struct loop_task){.cb = run_ended, .arg = p};
  p->round_task = (struct loop_task){.cb = start_round, .arg = p};
  p->known_us = CLOCK_NEVER;
  loop_timer_init(&p->check_timer, loop, start_round, p);
  loop_timer_init(&p->deadline_timer, loop, on_deadline, p);
  p->open_timers = 2;
  return p;
}

void partitions_start(struct partitions *p, partitions_cb *first, void *arg) {
  p->is_started = true;
  p->first = first;
  p->first_arg = arg;
  loop_defer(p->loop, &p->round_task);
}

bool partitions_has(const struct partitions *p, int month) {
  return month_set_has(&p->known, month);
}

/* Others may have made or dropped months since. */
static bool is_fresh(const struct partitions *p) {
  return p->known_us != CLOCK_NEVER && now_us(p) - p->known_us < FRESH_US;
}

int partitions_max(const struct partitions *p) {
  return p->config->max_partitions;
}

int partitions_admit(struct partitions *p, int month, int more, struct error *err) {
  char name[MONTH_NAME_SIZE];
  int max = p->config->max_partitions;
  bool is_ready = month >= first_ready(p) && month <= last_ready(p);
  if (is_ready || partitions_has(p, month) || p->known_count + more < max)
    return 0;
  month_partition_name(month, name);
  if (!is_fresh(p)) {
    loop_defer(p->loop, &p->round_task);
    return error_set(err, ERR_UNAVAILABLE, "partition %s isn't known yet and is looked for", name);
  }
  return error_set(err, ERR_FAILED_PRECONDITION,
                   "there is no partition %s, and none is made: %d months have one, and "
                   "storage.max_partitions is %d; raise it, or drop months that nobody needs",
                   name, p->known_count, max);
}

/* Distinct months that are being made. */
static int count_wanted(const struct partitions *p, int month) {
  int count = 0;
  for (struct list_link *link = p->waiting.first; link; link = link->next) {
    int other = LIST_ENTRY(link, struct request, link)->month;
    bool is_counted = other == month || partitions_has(p, other);
    for (struct list_link *seen = p->waiting.first; seen != link && !is_counted; seen = seen->next)
      is_counted = LIST_ENTRY(seen, struct request, link)->month == other;
    count += !is_counted;
  }
  return count;
}

/* Why a request can't be taken; 0 when it can. */
static int check_request(struct partitions *p, int month, struct error *err) {
  if (p->is_closing)
    return error_set(err, ERR_CANCELED, "partitions: stopping");
  if (!month_is_valid(month))
    return error_set(err, ERR_INVALID_ARGUMENT, "partitions: no such month: %d", month);
  if (p->waiting.count >= MAX_REQUESTS)
    return error_set(err, ERR_EXHAUSTED, "partitions: %d requests are waiting", MAX_REQUESTS);
  return partitions_admit(p, month, count_wanted(p, month), err);
}

void partitions_ensure(struct partitions *p, int month, int64_t deadline_us, partitions_cb *cb,
                       void *arg) {
  struct request *request = xcalloc(1, sizeof(*request));
  request->month = month;
  request->deadline_us = deadline_us;
  request->cb = cb;
  request->arg = arg;
  if (check_request(p, month, &request->err) < 0) {
    list_push_back(&p->ended, &request->link);
    loop_defer(p->loop, &p->end_task);
    return;
  }
  list_push_back(&p->waiting, &request->link);
  arm_deadline(p);
  loop_defer(p->loop, &p->round_task);
}

/* ---- closing ---- */

static void on_timer_closed(void *arg) {
  struct partitions *p = arg;
  if (--p->open_timers > 0)
    return;
  /* A callback may ask once more, and is refused. */
  while (p->ended.count > 0)
    run_ended(p);
  loop_cancel(p->loop, &p->end_task);
  loop_task_cb *closed = p->closed;
  void *closed_arg = p->closed_arg;
  free(p);
  closed(closed_arg);
}

static void partitions_finish_close(struct partitions *p) {
  struct error err;
  error_set(&err, ERR_CANCELED, "partitions: stopping");
  struct list_link *link;
  while ((link = list_pop_front(&p->waiting)))
    request_end(p, LIST_ENTRY(link, struct request, link), &err);
  loop_cancel(p->loop, &p->round_task);
  report_first(p, &err);
  loop_timer_close(&p->check_timer, on_timer_closed, p);
  loop_timer_close(&p->deadline_timer, on_timer_closed, p);
}

static void on_close_task(void *arg) {
  partitions_finish_close(arg);
}

void partitions_close(struct partitions *p, loop_task_cb *closed, void *arg) {
  p->is_closing = true;
  p->closed = closed;
  p->closed_arg = arg;
  if (p->is_in_round)
    return;
  /* Callbacks never run inside this call. */
  loop_cancel(p->loop, &p->round_task);
  p->round_task.cb = on_close_task;
  loop_defer(p->loop, &p->round_task);
}
