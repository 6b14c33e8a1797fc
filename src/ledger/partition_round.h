/*
 * partition_round: one look after the partitions: reads which months have one, makes those that are
 * wanted and missing, each in a transaction of its own, and reads again what is there now.
 *
 * What counts is what the catalog says at the end. Another daemon that made a month first is no
 * failure; a table that only has the name of a partition is.
 */
#pragma once

#include "base/clock.h"
#include "ledger/months.h"
#include "pg/pool.h"

struct partition_report {
  const struct month_set *existing; /* NULL when the catalog couldn't be read */
  const struct error *err;          /* the first failure; NULL when all wanted months exist */
  int64_t locks_of_query;           /* that reads all partitions */
  int64_t lock_slots;               /* that the server has for all transactions; 0: not known */
};
typedef void partition_round_cb(void *arg, const struct partition_report *report);

/* `cb` runs once, never inside this call. `wanted` is copied. */
void partition_round_start(struct pg_pool *pool, int64_t deadline_us,
                           const struct month_set *wanted, partition_round_cb *cb, void *arg);
