/*
 * schema: the numbered migrations, compiled in, and the check that a database has them.
 */
#pragma once

#include "base/loop.h"
#include "pg/pool.h"

/* The number of the last migration this program knows. */
int schema_version(void);

/* err NULL: done. `version` is the database's number afterwards (apply) or now (check); 0: none. */
typedef void schema_cb(void *arg, int version, const struct error *err);

/* Applies what is missing, each migration in a transaction of its own, under an advisory lock.
 * A migration that needs a table to itself waits for it a moment at a time, so that others are held
 * up no longer than that, and tries again until the deadline; the log says whom it waits for.
 * ERR_FAILED_PRECONDITION when the database is newer than this program, or a migration that was
 * applied differs from ours. ERR_TIMEOUT names the one who had a lock to the end. */
void schema_migrate(struct pg_pool *pool, struct loop *loop, int64_t deadline_us, schema_cb *cb,
                    void *arg);

/* ERR_FAILED_PRECONDITION when the database isn't exactly at schema_version(), the server is older
 * than PostgreSQL 15 or not in UTF8, or what was done to the tables endangers what is written
 * (ledger/surroundings.h); the text says what mends it. */
void schema_check(struct pg_pool *pool, struct loop *loop, int64_t deadline_us, schema_cb *cb,
                  void *arg);
