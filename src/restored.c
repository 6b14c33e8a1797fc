#include "restored.h"

#include <stdlib.h>

#include "app_loop.h"
#include "base/alloc.h"
#include "base/log.h"
#include "files.h"
#include "ingest/ingest.h"
#include "keys.h"
#include "ledger/partitions.h"
#include "ledger/schema.h"
#include "pg/pool.h"
#include "restored_event.h"
#include "self_events.h"
#include "store_open.h"
#include "usage.h"

/* How long each step may take. */
#define STEP_TIMEOUT_US (60 * CLOCK_US_PER_S)

/*
 * CHECK ──▶ OPEN ──▶ END ──▶ READ ──▶ RECORD ──▶ READ ──▶ RESET ──▶ stop
 *
 * The memory is reset when all else is committed: cut short before that, a daemon still refuses to
 * start.
 */
struct restored {
  struct config *config; /* borrowed */
  uv_loop_t uv;
  struct loop loop;
  struct pg_pool *pool; /* owned, as all below */
  struct partitions *partitions;
  struct ledger_memory *memory;
  struct ingest *ingest;
  struct self_events *self_events;
  struct checkpoint_signer signer;
  struct store_row row;
  struct store_open opening;
  struct store_restored result;
  struct ledger_known *remembered;
  int remembered_count;
  int64_t stop_at_us;
  int exit_code;
};

static int64_t step_deadline(const struct restored *r) {
  return clock_monotonic_us(r->loop.clock) + STEP_TIMEOUT_US;
}

#define NOT_CHANGED                                                                                \
  "not restored; nothing was changed, unless the connection was lost at the end: run it again"
#define CUT_SHORT "restored in part: the ledgers are closed; run it again"
#define NOT_REMEMBERED                                                                             \
  "restored, but daemons would still refuse to start, as the memory can't be written: mend that,"  \
  " and run it again"

/* ---- stop ---- */

static void on_memory_closed(void *arg, const struct error *err) {
  struct restored *r = arg;
  if (err && r->exit_code == EXIT_SUCCESS) {
    log_error(NOT_REMEMBERED, KV("error", err->text));
    r->exit_code = EXIT_FAILURE;
  }
  uv_stop(&r->uv);
}

static void on_pool_drained(void *arg) {
  struct restored *r = arg;
  ledger_memory_close(r->memory, on_memory_closed, r);
}

static void on_partitions_closed(void *arg) {
  struct restored *r = arg;
  pg_pool_drain(r->pool, r->stop_at_us, on_pool_drained, r);
}

static void on_ingest_drained(void *arg) {
  struct restored *r = arg;
  partitions_close(r->partitions, on_partitions_closed, r);
}

static void stop(struct restored *r, int exit_code) {
  r->exit_code = exit_code;
  r->stop_at_us = clock_monotonic_us(r->loop.clock) + r->config->shutdown.timeout_us;
  ingest_drain(r->ingest, r->stop_at_us, on_ingest_drained, r);
}

static void fail(struct restored *r, const char *what, const struct error *err) {
  log_error(what, KV("error", err->text));
  stop(r, err->code == ERR_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILURE);
}

/* ---- the steps ---- */

static void on_heads_to_keep(void *arg, struct ledger_known *known, int count,
                             const struct error *err) {
  struct restored *r = arg;
  if (err) {
    fail(r, CUT_SHORT, err);
    return;
  }
  ledger_memory_reset(r->memory, known, count);
  free(known);
  log_info("store is restored", KV("origin", r->row.origin), KV("epoch", r->result.epoch),
           KV("next", "start the daemons"));
  stop(r, EXIT_SUCCESS);
}

static void on_recorded(void *arg, const struct error *err) {
  struct restored *r = arg;
  if (err)
    fail(r, CUT_SHORT, err);
  else
    store_heads_read(r->pool, step_deadline(r), on_heads_to_keep, r);
}

static void on_heads_found(void *arg, struct ledger_known *found, int count,
                           const struct error *err) {
  struct restored *r = arg;
  struct buf data;
  if (err) {
    fail(r, CUT_SHORT, err);
    return;
  }
  const struct restored_heads heads = {.remembered = r->remembered,
                                       .remembered_count = r->remembered_count,
                                       .found = found,
                                       .found_count = count};
  log_warn("all ledgers are closed", KV("old_epoch", r->result.old_epoch),
           KV("epoch", r->result.epoch), KV("ledgers_closed", r->result.closed),
           KV("ledgers_behind", restored_event_count_behind(&heads)));
  buf_init(&data, RESTORED_EVENT_MAX_BYTES);
  restored_event_append(&data, &r->result, &heads);
  free(found);
  self_events_record_restored(r->self_events, &(struct self_restored){
                                                  .origin = r->row.origin,
                                                  .data = str_of(buf_bytes(&data), buf_len(&data)),
                                                  .done = on_recorded,
                                                  .arg = r,
                                              });
  buf_deinit(&data);
}

static void on_ended(void *arg, const struct store_restored *result, const struct error *err) {
  struct restored *r = arg;
  if (err) {
    fail(r, NOT_CHANGED, err);
    return;
  }
  r->result = *result;
  store_heads_read(r->pool, step_deadline(r), on_heads_found, r);
}

static void on_opened(void *arg, const struct error *err) {
  struct restored *r = arg;
  if (err) {
    fail(r, NOT_CHANGED, err);
    return;
  }
  r->signer.origin = r->row.origin;
  keys_announce(&r->signer);
  r->remembered = ledger_memory_list(r->memory, &r->remembered_count);
  if (!ledger_memory_is_kept(r->memory))
    log_warn("which ledger ids were given out is known from the database alone",
             KV("advice",
                "set ledger.memory_file to the daemon's; without one, a backup of before "
                "an earlier restore would have its ids again"));
  if (r->row.epoch > 0)
    log_warn("this store was restored before: another epoch begins", KV("epoch", r->row.epoch),
             KV("advice", "run this once after each restore"));
  store_restore(r->pool, ledger_memory_last_id(r->memory), step_deadline(r), on_ended, r);
}

static void on_schema_checked(void *arg, int version, const struct error *err) {
  struct restored *r = arg;
  (void)version;
  if (err) {
    fail(r, NOT_CHANGED, err);
    return;
  }
  r->opening = (struct store_open){.pool = r->pool,
                                   .config = r->config,
                                   .memory = r->memory,
                                   .row = &r->row,
                                   .may_have_lost = true,
                                   .deadline_us = step_deadline(r),
                                   .cb = on_opened,
                                   .arg = r};
  store_open_run(&r->opening);
}

/* ---- the frame ---- */

static int new_parts(struct restored *r, struct error *err) {
  const struct config *config = r->config;
  int rc = files_check_database(config, err);
  if (rc < 0 || (rc = keys_load(&r->signer, config, err)) < 0 ||
      (rc = pg_pool_new(&r->pool, &r->loop, &config->database, err)) < 0)
    return rc;
  r->partitions = partitions_new(&r->loop, r->pool, &config->storage);
  r->memory = ledger_memory_new(&r->loop);
  const struct ingest_options ingest = {.pool = r->pool,
                                        .partitions = r->partitions,
                                        .config = &config->ingest,
                                        .ledger = &config->ledger,
                                        .signer = &r->signer,
                                        .memory = r->memory};
  r->ingest = ingest_new(&r->loop, &ingest);
  r->self_events = self_events_new(&r->loop);
  self_events_begin(r->self_events, r->ingest, NULL);
  return 0;
}

int restored_run(struct config *config) {
  struct restored *r = xcalloc(1, sizeof(*r));
  struct error err = {0};
  r->config = config;
  app_loop_open(&r->loop, &r->uv);
  if (new_parts(r, &err) < 0) {
    log_error("can't start", KV("error", err.text));
    r->exit_code = EXIT_FAILURE;
  } else {
    schema_check(r->pool, &r->loop, step_deadline(r), on_schema_checked, r);
    uv_run(&r->uv, UV_RUN_DEFAULT);
    ingest_free(r->ingest);
    pg_pool_free(r->pool);
  }
  app_loop_close(&r->loop, r->stop_at_us, r->exit_code);
  int code = r->exit_code;
  self_events_free(r->self_events);
  keys_unload(&r->signer);
  free(r->remembered);
  free(r);
  return code;
}
