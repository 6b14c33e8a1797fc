/*
 * store_open: what must hold between the settings, the database and the memory of ledgers before
 * anything is appended: the origin is the store's own, the memory's file is this store's, and the
 * database has all that is known to be committed.
 */
#pragma once

#include "config/config.h"
#include "ledger/memory.h"
#include "ledger/store_row.h"

/* All are borrowed until the callback has run. */
struct store_open {
  struct pg_pool *pool;
  const struct config *config;
  struct ledger_memory *memory;
  struct store_row *row; /* filled */
  bool may_have_lost;    /* what the database lost of that isn't asked for */
  int64_t deadline_us;
  /* `err` NULL: all holds. ERR_INVALID_ARGUMENT: a setting contradicts the database, and nothing
   * was changed. Runs exactly once, never inside store_open_run(). */
  void (*cb)(void *arg, const struct error *err);
  void *arg;
};

/* Opens the memory's file if the settings name one and that isn't done yet: it may be run again
 * after a failure. */
void store_open_run(struct store_open *open);
