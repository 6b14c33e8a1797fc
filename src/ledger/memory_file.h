/*
 * memory_file: the text of a ledger_memory, and how it gets to disk and back. All of it blocks.
 *
 *   auditstore/memory/v1
 *   ORIGIN
 *   last LEDGER_ID              the largest ever seen; 0: none
 *   LEDGER_ID SIZE ROOT         for each ledger, by ascending ids; the root in base64
 *   HEX                         SHA-256 of all lines before
 *
 * Each line ends in LF. A text that differs from this in a single byte is refused: what can't be
 * relied on must not pass for a memory, and least of all for a first run.
 */
#pragma once

#include "base/must_check.h"
#include "ledger/memory.h"

struct memory_text {
  const char *origin; /* borrowed; NULL: any */
  int64_t last_id;
  struct ledger_known *known; /* by ascending ids; owned by who made it */
  int count;
};

/* Takes PATH.lock for this process, at once or not at all: *ret_fd, which close() gives back.
 * ERR_FAILED_PRECONDITION when another process has it, or it can't be made. */
MUST_CHECK int memory_file_lock(const char *path, int *ret_fd, struct error *err);

/* Reads the file; ret_text->origin is `origin`, and ret_text->known is to be freed. ERR_NOT_FOUND:
 * there is none. ERR_FAILED_PRECONDITION: it can't be read or relied on. */
MUST_CHECK int memory_file_read(const char *path, const char *origin, struct memory_text *ret_text,
                                struct error *err);

/* Whether the file, or a first one in its place, can be read, relied on and replaced. Takes no
 * lock: a daemon may have it. The store's name isn't looked at. */
MUST_CHECK int memory_file_check(const char *path, struct error *err);

/* Puts `text` in the file's place, on disk when it returns 0. Failures leave the old one, and no
 * temporary file. For one thread at a time. */
MUST_CHECK int memory_file_write(const char *path, const struct memory_text *text,
                                 struct error *err);
