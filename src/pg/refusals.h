/*
 * refusals: what PostgreSQL refuses and what it leaves unanswered, told to operators and counted.
 *
 * Of each SQLSTATE the first is logged at once, with PostgreSQL's message and hint, and then one a
 * minute with the number of those left out. DETAIL is never logged: it holds rows. Counted are
 * labels, of which there are few: some SQLSTATEs, and the classes of all others.
 *
 * Loop thread only.
 */
#pragma once

#include <stdint.h>

struct pg_lease;
struct pg_pool;

enum {
  PG_REFUSALS_TOLD_MAX = 32, /* SQLSTATEs remembered: the one told longest ago gives way */
  PG_REFUSAL_LABEL_SIZE = 8,
};

struct pg_refusals_told {
  char sqlstate[PG_REFUSAL_LABEL_SIZE];
  int64_t told_at_us;
  int64_t left_out;
};

struct pg_refusals {
  struct pg_refusals_told told[PG_REFUSALS_TOLD_MAX];
  int count;
  char server_sqlstate[6]; /* the last that the server's own state is to blame for; "": none */
  int64_t server_at_us;
};

/* A lease's pipeline ended otherwise than well. */
void pg_refusal_note(struct pg_lease *conn);

/* By which the server refused a statement within the last minute because of its own state. NULL: it
 * didn't. */
const char *pg_refusals_server_sqlstate(const struct pg_pool *pool);
