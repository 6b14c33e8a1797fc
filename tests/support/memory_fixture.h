/*
 * memory_fixture: a memory of ledgers on a clock that the test moves, and a folder for its file.
 */
#pragma once

#include "ledger/memory.h"
#include "ledger/memory_file.h"

#define SECOND_US CLOCK_US_PER_S
#define ORIGIN    "audit.example.com/prod"

extern int64_t fake_now;
extern const struct clock fake_clock;

struct world {
  uv_loop_t uv;
  struct loop loop;
  char dir[40];
  char path[64];
  char lock[80];
  char temporary[80];
  struct ledger_memory *m;
  struct error err;
};

/* For cmocka: an empty memory without a file; w->path is a name in an empty folder. Teardown closes
 * the memory if there is one. */
int set_up(void **state);
int tear_down(void **state);

/* Waits for its end; there is none then. */
void close_memory(struct world *w);

/* With the file at w->path. */
int try_open(struct world *w);
void open_memory(struct world *w);

/* Closes the memory; another one reads its file. */
void reopen(struct world *w);

/* It doesn't open, and the reason has these words and the file's name. */
void refuses_with(struct world *w, const char *words);

/* A head that shows which one it is; and it noted, or found. */
struct ledger_head head_of(int64_t ledger_id, int64_t size);
void note(struct world *w, int64_t ledger_id, int64_t size);
void assert_known(const struct world *w, int64_t ledger_id, int64_t size);
void assert_unknown(const struct world *w, int64_t ledger_id);

struct ledger_memory_stats stats_of(const struct world *w);

/* Whether what is on disk says so of the ledger; waits until it does and nothing is under way. */
bool is_written(const struct world *w, int64_t ledger_id, int64_t size);
void wait_written(struct world *w, int64_t ledger_id, int64_t size);

/* Gives what shouldn't happen a moment to happen. */
void settle(struct world *w);

/* The file's bytes: free() them; there is room for one more. */
char *content_of(const struct world *w, size_t *ret_len);
void put_content(const struct world *w, const char *content, size_t len);
