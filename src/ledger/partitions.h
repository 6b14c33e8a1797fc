/*
 * partitions: the monthly partitions of audit_events, made before they are needed.
 *
 * Months are those of base/timestamp.h. Made under an advisory lock, so that several daemons can do
 * it at once; never a DEFAULT partition. Loop thread only.
 */
#pragma once

#include "base/loop.h"
#include "config/config.h"
#include "pg/pool.h"

struct partitions;

struct partitions *partitions_new(struct loop *loop, struct pg_pool *pool,
                                  const struct config_storage *config);

/* Waits for work under way; `closed` runs when the memory is gone. */
void partitions_close(struct partitions *p, loop_task_cb *closed, void *arg);

/* Makes the months from the previous one to partitions_ahead beyond the current one, now and every
 * partition_check_every. `first` runs once, when the first round has ended, with NULL on success.
 */
typedef void partitions_cb(void *arg, const struct error *err);
void partitions_start(struct partitions *p, partitions_cb *first, void *arg);

/* Whether the month is known to exist. */
bool partitions_has(const struct partitions *p, int month);

/* storage.max_partitions. */
int partitions_max(const struct partitions *p);

/* Whether the month may be made on demand, beside `more` others: those kept ready always, others
 * while no more than max_partitions exist then. ERR_FAILED_PRECONDITION says why not;
 * ERR_UNAVAILABLE: what is known is too old to say so, and is being read again. */
int partitions_admit(struct partitions *p, int month, int more, struct error *err);

/* Makes one month, if it may be made. `cb` runs exactly once, never inside this call. Requests for
 * the same month are served by one statement. */
void partitions_ensure(struct partitions *p, int month, int64_t deadline_us, partitions_cb *cb,
                       void *arg);
