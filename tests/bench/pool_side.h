/*
 * pool_side: the process that answers the writers: each request acquires a connection, inserts one
 * row, commits and gives the connection back.
 */
#pragma once

#include "base/loop.h"
#include "bench/pool_writers.h"
#include "pg/pool.h"

/* Ends the program with a message when something fails: nothing is left to measure then. */
struct pool_side {
  uv_loop_t uv;
  struct loop loop;
  struct pg_pool *pool;
  int64_t dials; /* after the warm-up */
};

void pool_side_open(struct pool_side *side, const struct config_database *config);

/* Drains the pool and closes the loop. */
void pool_side_close(struct pool_side *side);

/* Answers until all writers have closed their ends. */
void pool_side_serve(struct pool_side *side, struct pool_writers *writers);

/* Acquires `count` connections, so that they are open, and gives them back. */
void pool_side_warm(struct pool_side *side, int count);

/* Nanoseconds from acquiring an idle connection to having given it back, when `at_once` requests
 * share a turn of the loop. */
double pool_side_lease_ns(struct pool_side *side, int at_once);

/* Nanoseconds of one read of an idle socket. */
double pool_side_read_ns(void);
