/*
 * ledger_fixture: one connection to a PostgreSQL of the test's own, and what can be done to a
 * ledger over it, one step at a time.
 */
#pragma once

#include "ledger/append.h"
#include "support/store.h"

#define MAX_MATCHES  16
#define LEASE_US     (60LL * 1000 * 1000)
#define COMMITTED_US 1795420345123456

struct fixture {
  struct store store;
  struct appender *appender;
  struct claim claim;
  struct seal seal;
  struct checkpoint_signer signer;
  struct ledger_memory *memory; /* empty: the test notes what it wants known */
  bool compares;                /* writes compare their rows */
  int64_t first_new_id;         /* of claims */
  struct pg_lease *conn;
  bool is_done;
  struct pg_outcome outcome;
  struct error error;
  /* what on_result read */
  struct claim_answer answer;
  struct append_match matches[MAX_MATCHES];
  int match_count;
  void (*check_row)(const PGresult *result); /* the test's own */
};

/* For cmocka: one server for the program; empty tables, a leased connection and a claim that holds
 * nothing for each test. */
int ledger_group_setup(void **state);
int ledger_group_teardown(void **state);
int ledger_setup(void **state);
int ledger_teardown(void **state);

/* Ends the pipeline and waits for it: f->outcome. */
void run(struct fixture *f, void (*on_result)(void *arg, int statement, const PGresult *result));
void assert_ok(const struct fixture *f);

/* What the claim learns is what a lane takes over: f->answer, and the claim when it is held. */
enum claim_verdict claim_ledger(struct fixture *f, struct claim *claim);

/* Whether it was written; the claim then stands behind it. f->outcome says why not. */
bool append_by(struct fixture *f, struct claim *claim, const struct append_item *items, int count);

/* By f->claim. */
bool append(struct fixture *f, const struct append_item *items, int count);

/* f->matches. */
void look_up(struct fixture *f, const struct append_item *items, int count);
const struct append_match *match_of(const struct fixture *f, int index);
