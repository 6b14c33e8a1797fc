/*
 * store: a real PostgreSQL of a test's own, with the schema, and the parts that a writer needs.
 */
#pragma once

#include "base/loop.h"
#include "config/config.h"
#include "ledger/event.h"
#include "ledger/partitions.h"
#include "pg/pool.h"
#include "support/pg_server.h"

struct store {
  struct pg_server server;
  struct config_database database;
  struct config_storage storage;
  uv_loop_t uv;
  struct loop loop;
  struct pg_pool *pool;
  struct partitions *partitions;
  PGconn *admin; /* for the test's own questions, which may block */
};

/* Starts a server and applies the schema. Once per test program. */
void store_start(struct store *s);
void store_remove(struct store *s);

/* Stops and starts the server; the port stays. Mode "fast" or "immediate". */
void store_stop_server(struct store *s, const char *mode);
void store_start_server(struct store *s);

/* Empties the tables and makes the loop, the pool and the partitions anew; undone by store_close(),
 * which asserts that no lease is out. */
void store_open(struct store *s);
void store_close(struct store *s);

/* Runs the loop until *flag is true. Fails the test after 30 s. */
void store_run_until(struct store *s, const bool *flag);

/* Runs the loop for one turn that may wait at most about 10 ms. */
void store_turn(struct store *s);

/* Asks as the administrator. The result is the caller's. Fails the test on an error. */
PGresult *store_query(struct store *s, const char *sql);

/* The same for what has no result, or none that matters. */
void store_sql(struct store *s, const char *sql);

/* The first value as a number. */
int64_t store_number(struct store *s, const char *sql);

/* A valid event: number n of the texts, its id made from n, the time now. */
struct event sample_event(int n);
