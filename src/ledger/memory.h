/*
 * memory: what this daemon knows to be committed, ledger by ledger, kept outside the database.
 *
 * A database that is older than what it answered before (a restored backup, a copy that was left
 * behind, a failover that lost commits) fits together in itself. Only who remembers sees it.
 *
 * Words: head = a ledger's size and the root of its log at that size; known = it was committed,
 * and this process saw that, or read it from the file of an earlier one. What is known of a ledger
 * never goes back in size.
 *
 * The file. Without one (ledger_memory_open() isn't called) the memory ends with the process. With
 * one, what is noted is in it a moment later: at the next turn of the loop when the last write
 * began more than a second ago, else when that second is over, and all that was noted meanwhile
 * goes in one write. libuv's worker threads write it: to a temporary name beside it, synced,
 * renamed, and the folder synced; so there is the old text or the new one, never half of one. A
 * write that fails is counted, logged and tried again; nothing else stops for it.
 *
 * What a crash of the process or the machine can lose is what was noted in the last second, plus
 * the time that a write takes; while writes fail, what was noted since the last that didn't. A
 * database that was set back by no more than that isn't noticed by the next process. A clean stop
 * loses nothing.
 *
 * Loop thread only. It owns all that it has; texts and heads given to it are copied.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/must_check.h"
#include "ledger/merkle.h"

struct ledger_head {
  int64_t size;
  struct merkle_hash root; /* at that size; of an empty log when it is 0 */
};

/* What is known of one ledger. */
struct ledger_known {
  int64_t ledger_id; /* > 0 */
  struct ledger_head head;
};

struct ledger_memory;

/* Nothing is known, and there is no file. `loop` must outlive it. */
struct ledger_memory *ledger_memory_new(struct loop *loop);

/* Keeps it in the file `path` from now on, and takes over what that says. Blocks: at the start
 * only, and once. The lock PATH.lock is held until ledger_memory_close(): one process at a time.
 * A file that isn't there is a first run; one that is torn, edited, unreadable, another program's
 * or of another `origin` is ERR_FAILED_PRECONDITION, as is a lock that another process has: the
 * text says what is wrong and what to do, and there is no file then. */
MUST_CHECK int ledger_memory_open(struct ledger_memory *m, const char *path, const char *origin,
                                  struct error *err);

/* Whether there is a file. */
bool ledger_memory_is_kept(const struct ledger_memory *m);

/* False: nothing is known of that ledger. */
bool ledger_memory_find(const struct ledger_memory *m, int64_t ledger_id, struct ledger_head *ret);

/* The ledger was committed with this head. One that isn't larger than what is known changes
 * nothing: whether it contradicts that is for who learns of it to say. Takes the same time however
 * many ledgers there are, and does no I/O. */
void ledger_memory_note(struct ledger_memory *m, int64_t ledger_id, const struct ledger_head *head);

/* The largest ledger id ever seen, also by earlier processes with this file; 0: none. */
int64_t ledger_memory_last_id(const struct ledger_memory *m);

/* The ids that are left of this epoch (ledger/store_row.h) count as seen: the database went back,
 * and others may have used them on the copy that answered before. */
void ledger_memory_end_epoch(struct ledger_memory *m);

/* All that is known, by ascending ids; free() it. NULL and 0: nothing. */
struct ledger_known *ledger_memory_list(const struct ledger_memory *m, int *ret_count);

/* Forgets all but the largest id, and knows these instead: after an intended restore. */
void ledger_memory_reset(struct ledger_memory *m, const struct ledger_known *known, int count);

struct ledger_memory_stats {
  int64_t ledgers;      /* how many are known */
  int64_t failures;     /* writes that failed */
  int64_t unwritten_us; /* for how long something has waited to be written; 0: all is in the file,
                           or there is none */
};
void ledger_memory_stats(const struct ledger_memory *m, struct ledger_memory_stats *ret_stats);

/* `err` NULL: all of it is in the file, or there is none. Borrowed. */
typedef void ledger_memory_closed_cb(void *arg, const struct error *err);

/* Writes what isn't written yet, or says in the log that it couldn't, gives the lock back and frees
 * the memory; then runs `closed`, never inside this call. Notes are no longer allowed. */
void ledger_memory_close(struct ledger_memory *m, ledger_memory_closed_cb *closed, void *arg);
