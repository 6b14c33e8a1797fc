/*
 * copy: the yardstick: binary COPY of the sample events into audit_events, nothing else.
 */
#pragma once

#include "base/buf.h"
#include "bench/sample.h"
#include "bench/workers.h"

#define COPY_COLUMNS                                                                               \
  "event_id, event_time, received_at, ledger_id, sequence, event_type, event_category, "           \
  "event_action, outcome, severity, actor_type, actor_id, actor_ip, resource_type, resource_id, "  \
  "namespace, correlation_id, duration_us, sensitive, event_data"
#define COPY_COLUMN_COUNT 20

struct copy_config {
  const char *conninfo;
  int events_per_worker;
};

/* A task for workers_run() with a struct copy_config. */
struct worker_task copy_task(const struct copy_config *config);

/* One row in COPY's binary format: the number of columns, then each with its length. */
bool copy_put_row(struct buf *out, const struct sample *s, int worker, int64_t number);

/* What is compared starts from empty tables. Negative, with a message, on failure. */
int copy_empty_tables(const char *conninfo);
