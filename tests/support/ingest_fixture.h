/*
 * ingest_fixture: ingest on a PostgreSQL of the test's own, and requests for it.
 */
#pragma once

#include "ingest/ingest.h"
#include "support/store.h"

#define SECOND_US   (1000LL * 1000)
#define MAX_JOBS    1000
#define MAX_SOURCES 4

/* One request of a test and what became of it. */
struct job {
  struct ingest_request request; /* first */
  struct fixture *fixture;
  struct event *events;
  struct grpc_status *failure;
  bool is_done;
  int done_at; /* how many were done before it */
};

struct fixture {
  struct store store;
  struct config_ingest config;
  struct config_ledger ledger;
  struct checkpoint_signer signer;
  struct ledger_memory *memory;
  struct ingest *ingest;
  struct job *jobs[MAX_JOBS];
  int job_count;
  struct ingest_source *sources[MAX_SOURCES];
  int source_count;
  int done_count;
  bool is_drained;
  int wake_count;
  int next_event;
};

/* For cmocka: one server for the program, empty tables and a new ingest of two lanes, or three, for
 * each test. Teardown
 * drains, asserts that every request was answered, and frees jobs and sources. */
int ingest_group_setup(void **state);
int ingest_group_teardown(void **state);
int ingest_setup(void **state);
int ingest_setup_of_three(void **state);
int ingest_teardown(void **state);

int64_t now_us(const struct fixture *f);

/* Drains and waits for it. */
void drain(struct fixture *f, int64_t patience_us);

/* Freed at the end of the test. */
struct ingest_source *source_new(struct fixture *f);

/* `count` new events, atomic, without a deadline. Belongs to the fixture once submitted. */
struct job *job_new(struct fixture *f, int count);
void job_free(struct job *job);

/* A new request with copies of another's events. */
struct job *repeat(struct fixture *f, const struct job *original);

/* Gives the event other content under the same id and time. */
void change(struct event *event);

/* submit() fails the test where try_submit() returns the error. */
int try_submit(struct fixture *f, struct ingest_source *source, struct job *job);
struct job *submit(struct fixture *f, struct ingest_source *source, struct job *job);

/* Until every submitted job is answered. */
void wait_all(struct fixture *f);

const struct ingest_result *result(const struct job *job, int index);
void assert_stored(const struct job *job);
void assert_failed(const struct job *job, enum grpc_code code);

/* The row of the event is where its receipt says. */
void assert_receipt(struct fixture *f, const struct job *job, int index);

struct ingest_stats ingest_stats_of(const struct fixture *f);

int64_t row_count(struct fixture *f);

/* The ledgers hold what they say, each place once. */
void assert_ledgers_are_dense(struct fixture *f);

/* ---- the server, from another session ---- */

/* Whoever writes to ledger 1 waits for a "transactionid" until that session sends COMMIT. */
void lock_ledger(struct fixture *f);

/* How many of ingest's backends wait for that; until one does. */
int64_t count_waiting(struct fixture *f, const char *wait_event);
void wait_for_event(struct fixture *f, const char *wait_event);

/* Runs the loop until the question's number isn't 0; fails the test after 20 s. */
void wait_until(struct fixture *f, const char *sql);

/* Ends ingest's backends: all, or those that wait for that. */
void kill_backends(struct fixture *f);
void kill_waiting(struct fixture *f, const char *wait_event);

/* Commits are answered only when this standby has them, which doesn't exist; "" is none. Backends
 * that wait for it have committed and wait for "SyncRep". */
void set_standby(struct fixture *f, const char *name);
