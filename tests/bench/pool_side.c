#include "bench/pool_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "pg/binary.h"

#define DRAIN_US (10 * CLOCK_US_PER_S)

enum { ROW_BYTES_MAX = 256, LEASES = 400000, READS = 400000 };

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "bench_pool: %s\n", what);
  exit(1);
}

static int64_t now_us(void) {
  return clock_monotonic_us(&clock_system);
}

/* ---- the pool ---- */

void pool_side_open(struct pool_side *side, const struct config_database *config) {
  struct error err;
  *side = (struct pool_side){0};
  uv_loop_init(&side->uv);
  loop_init(&side->loop, &side->uv, &clock_system);
  if (pg_pool_new(&side->pool, &side->loop, config, &err) < 0)
    fail(err.text);
}

static void on_drained(void *arg) {
  *(bool *)arg = true;
}

static void run_until(struct pool_side *side, const bool *is_done) {
  while (!*is_done)
    uv_run(&side->uv, UV_RUN_ONCE);
}

void pool_side_close(struct pool_side *side) {
  bool is_drained = false;
  pg_pool_drain(side->pool, now_us() + DRAIN_US, on_drained, &is_drained);
  run_until(side, &is_drained);
  pg_pool_free(side->pool);
  loop_deinit(&side->loop);
  uv_run(&side->uv, UV_RUN_DEFAULT);
  uv_loop_close(&side->uv);
}

/* ---- one request ---- */

struct end {
  uv_poll_t poll;
  struct pool_side *side;
  int fd;
  int *left;
  bool *is_over;
  struct uuid_v7 ids;
};

struct request {
  struct end *end;
  struct pool_message message;
  struct pg_lease *conn;
};

static void answer(struct request *request) {
  if (write(request->end->fd, &request->message, sizeof(request->message)) !=
      (ssize_t)sizeof(request->message))
    fail("an answer couldn't be written");
  free(request);
}

static void on_inserted(void *arg, const struct pg_outcome *outcome) {
  struct request *request = arg;
  if (outcome->kind != PG_OK)
    fail(outcome->err.text);
  pg_release(request->conn);
  answer(request);
}

static void insert(struct request *request) {
  static const struct pg_statement statement = {
      .name = "bench_pool",
      .sql = "INSERT INTO bench_pool (id, at, actor, data) VALUES ($1, $2, $3, $4)",
      .param_count = 4,
  };
  static const struct pg_pipeline_cb cb = {.on_done = on_inserted};
  static const char actor[] = "checkout-07";
  static const char data[] = "{\"amount\":1250,\"currency\":\"EUR\",\"method\":\"card\"}";
  int64_t wall_us = clock_wall_us(&clock_system);
  struct uuid id = uuid_v7_next(&request->end->ids, wall_us);
  struct buf at;
  buf_init(&at, ROW_BYTES_MAX);
  pg_put_timestamptz(&at, wall_us);
  /* Without the length in front, which statements have elsewhere. */
  buf_consume(&at, sizeof(int32_t));
  const char *values[] = {(const char *)id.bytes, (const char *)buf_bytes(&at), actor, data};
  const int lengths[] = {sizeof(id.bytes), (int)buf_len(&at), sizeof(actor) - 1, sizeof(data) - 1};
  const struct pg_params params = {.values = values, .lengths = lengths};
  pg_send(request->conn, &statement, &params);
  pg_run(request->conn, CLOCK_NEVER, &cb, request);
  buf_deinit(&at);
}

static void on_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct request *request = arg;
  if (!conn)
    fail(err->text);
  request->conn = conn;
  insert(request);
}

/* ---- the writers' sockets ---- */

static void close_end(struct end *end) {
  uv_close((uv_handle_t *)&end->poll, NULL);
  if (--*end->left == 0)
    *end->is_over = true;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  struct end *end = poll->data;
  struct pool_message messages[BURST];
  (void)status;
  (void)events;
  ssize_t got = recv(end->fd, messages, sizeof(messages), MSG_DONTWAIT);
  if (got <= 0) {
    close_end(end);
    return;
  }
  for (size_t i = 0; i < (size_t)got / sizeof(messages[0]); i++) {
    struct request *request = calloc(1, sizeof(*request));
    *request = (struct request){.end = end, .message = messages[i]};
    pg_acquire(end->side->pool, CLOCK_NEVER, "bench", on_acquired, request);
  }
}

static int64_t opened(const struct pool_side *side) {
  struct pg_pool_stats stats;
  pg_pool_stats(side->pool, &stats);
  return stats.opened;
}

static void on_warm(uv_timer_t *timer) {
  struct pool_side *side = timer->data;
  side->dials = -opened(side);
  uv_close((uv_handle_t *)timer, NULL);
}

static void count_dials(struct pool_side *side, uv_timer_t *timer) {
  uv_timer_init(&side->uv, timer);
  timer->data = side;
  uv_timer_start(timer, on_warm, WARM_UP_SECONDS * 1000, 0);
}

void pool_side_serve(struct pool_side *side, struct pool_writers *writers) {
  struct end ends[WRITERS] = {{.side = NULL}};
  int left = WRITERS;
  bool is_over = false;
  uv_timer_t timer;
  count_dials(side, &timer);
  for (int i = 0; i < WRITERS; i++) {
    struct end *end = &ends[i];
    *end = (struct end){.side = side, .fd = writers->fds[i], .left = &left, .is_over = &is_over};
    uv_poll_init(&side->uv, &end->poll, end->fd);
    end->poll.data = end;
    uv_poll_start(&end->poll, UV_READABLE | UV_DISCONNECT, on_readable);
  }
  run_until(side, &is_over);
  side->dials += opened(side);
  /* libuv lets go of the handles, which stand in this frame. */
  uv_run(&side->uv, UV_RUN_NOWAIT);
}

/* ---- what a lease costs ---- */

struct round {
  struct pool_side *side;
  struct pg_lease **held; /* NULL: each is given back at once */
  int left;
  bool is_over;
};

static void on_lease(void *arg, struct pg_lease *conn, const struct error *err) {
  struct round *round = arg;
  if (!conn)
    fail(err->text);
  --round->left;
  if (round->held)
    round->held[round->left] = conn;
  else
    pg_release(conn);
  round->is_over = round->left == 0;
}

static void run_round(struct round *round, int count) {
  round->left = count;
  round->is_over = false;
  for (int i = 0; i < count; i++)
    pg_acquire(round->side->pool, CLOCK_NEVER, "bench", on_lease, round);
  run_until(round->side, &round->is_over);
}

void pool_side_warm(struct pool_side *side, int count) {
  struct pg_lease **held = calloc((size_t)count, sizeof(struct pg_lease *));
  struct round round = {.side = side, .held = held};
  run_round(&round, count);
  for (int i = 0; i < count; i++)
    pg_release(held[i]);
  free(held);
}

double pool_side_lease_ns(struct pool_side *side, int at_once) {
  struct round round = {.side = side};
  pool_side_warm(side, at_once);
  int64_t began_us = now_us();
  for (int i = 0; i < LEASES / at_once; i++)
    run_round(&round, at_once);
  return (double)(now_us() - began_us) * 1000 / LEASES;
}

double pool_side_read_ns(void) {
  int ends[2];
  char byte;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
    fail("no socket pair");
  int64_t began_us = now_us();
  for (int i = 0; i < READS; i++)
    (void)!recv(ends[0], &byte, sizeof(byte), MSG_DONTWAIT);
  int64_t spent_us = now_us() - began_us;
  close(ends[0]);
  close(ends[1]);
  return (double)spent_us * 1000 / READS;
}
