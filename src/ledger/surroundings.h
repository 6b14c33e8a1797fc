/*
 * surroundings: what stands on our tables, or has been done to them, that isn't ours and could
 * swallow, change, hide or lose rows.
 *
 * Words: finding = one such thing, told with its remedy; severity = what it means for a writer:
 *
 *   NOTED     told; nothing that is written is in danger
 *   WATCHED   a trigger: it may change or drop a row, so what was written has to be compared
 *   BLOCKING  what is written can't be trusted to be there, or to stay: no write may be answered
 *             as done
 *
 * Names are looked up as the session's statements do, by its search_path. Nothing here waits or
 * asks by itself; the lease's pipeline does.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/must_check.h"
#include "pg/pool.h"

#define SURROUNDINGS_TEXT_SIZE 1024

struct surroundings {
  int64_t fingerprint; /* what surroundings_fingerprint_sql() gave when this was read */
  int count;           /* of findings, all severities */
  bool is_watched;     /* one at least is WATCHED */
  bool is_blocking;    /* one at least is BLOCKING */
  /* The findings, the gravest first, each with its remedy: "trigger t on audit_events (enabled):
   * ALTER TABLE audit_events DROP TRIGGER t; ...". Those that don't fit are counted: "; and 3
   * more". Empty when there are none. For the operator's eyes: it names what is the operator's. */
  char text[SURROUNDINGS_TEXT_SIZE];
};

/* Queues one statement, which isn't prepared, as it is seldom asked. The server refuses it when a
 * table or a column of ours is gone (SQLSTATE 42P01, 42703); its text names which. */
void surroundings_send(struct pg_lease *conn);

/* Reads that statement's result. ERR_INTERNAL when it has another shape. Not to be relied on before
 * the pipeline has ended well. */
MUST_CHECK int surroundings_read(const PGresult *result, struct surroundings *ret,
                                 struct error *err);

/* A scalar SQL expression of type int8, in parentheses, without parameters: the same number as
 * surroundings.fingerprint as long as nothing was done to the tables that this module finds and
 * that can be done under a writer's eyes. Static storage.
 *
 * It is exact for a transaction that has locked the tables by writing to them: nobody can then
 * change what it looks at. Put it into a statement behind those that write, of a transaction that
 * isn't REPEATABLE READ. It changes with
 *   - triggers on the tables and partitions: made, dropped, replaced, switched on or off
 *   - rules on the tables; row security that meets this session's role, or no longer does
 *   - columns: names, types, and whether times keep their microseconds
 *   - the table itself: replaced by another of its name, UNLOGGED, another kind
 *   - a primary key dropped, or of other columns
 * and doesn't with partitions made, attached or dropped, indexes made or rebuilt, VACUUM, ANALYZE.
 * schema_migrations and store, which no such transaction writes to, aren't looked at; nor is each
 * partition, which would cost too much in every write: one that is made UNLOGGED or foreign is
 * found when the surroundings are read again.
 *
 * Prepare it: most of it is then computed when PostgreSQL plans the statement, and again after each
 * change of the tables. */
const char *surroundings_fingerprint_sql(void);
