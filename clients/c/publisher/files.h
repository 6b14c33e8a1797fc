/*
 * files: the few things that the spool does with files, whole or with errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "auditstore/status.h"

/* Writes all of it at `offset`. -1: errno; some of it may be written. */
int file_write(int fd, const void *data, size_t len, uint64_t offset);

/* Reads up to `len` bytes at `offset`; fewer only at the end of the file. -1: errno. */
ssize_t file_read(int fd, void *data, size_t len, uint64_t offset);

/* Opens a file in the folder for reading and writing, mode 0600. -1: errno. */
int file_open(int dir_fd, const char *name, int flags);

/* -1: errno. */
int64_t file_size(int fd);

/* What went wrong with which file of which folder, from errno: RESOURCE_EXHAUSTED when there is no
 * room, else UNAVAILABLE. Returns the code. */
enum auditstore_code file_fail(struct auditstore_status *status, const char *dir, const char *name,
                               const char *what);
