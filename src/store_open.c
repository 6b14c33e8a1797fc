#include "store_open.h"

#include "ledger/memory_check.h"

static void on_row(void *arg, const struct store_row *row, const struct error *err) {
  struct store_open *open = arg;
  const char *path = open->config->ledger.memory_file;
  struct error failure;
  if (err) {
    open->cb(open->arg, err);
    return;
  }
  *open->row = *row;
  if (path[0] && !ledger_memory_is_kept(open->memory) &&
      ledger_memory_open(open->memory, path, row->origin, &failure) < 0) {
    error_prefix(&failure, "ledger.memory_file");
    open->cb(open->arg, &failure);
    return;
  }
  if (open->may_have_lost)
    open->cb(open->arg, NULL);
  else
    memory_check(open->pool, open->memory, open->deadline_us, open->cb, open->arg);
}

void store_open_run(struct store_open *open) {
  store_row_read(open->pool, open->config->ledger.origin, open->deadline_us, on_row, open);
}
