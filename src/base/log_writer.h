/*
 * log_writer: what the log says, on its way to standard error. A thread of its own writes it, so
 * that nobody else waits for whoever reads: a pipe that is full, a stopped terminal, a slow disk.
 *
 * What waits stands in two halves of 128 KiB; one is filled while the other is written. A line that
 * finds its half full is dropped, and so is each after it until the thread takes that half; a note
 * of how many those were then stands in their place. Lines stay whole and in order: what is written
 * in part, or not at all because of an error, is tried again each second until it is written.
 *
 * When the process ends in good order, or by a signal that says it is broken, the thread is given a
 * second to write what waits. All but that may be called by one thread only, and never waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes a copy of a line, of 32 KiB at most, with its line feed, and returns 0. When the line is
 * dropped: how many were dropped that no note tells of yet. */
int64_t log_writer_put(const char *line, size_t len);

/* The line that is to stand where lines were dropped; in place of an earlier one that wasn't taken
 * yet. Returns 0; or, when it wasn't `dropped` any more that is to be told, how many it is. */
#define LOG_WRITER_NOTE_BYTES 256
int64_t log_writer_set_note(const char *line, size_t len, int64_t dropped);

/* Where lines go from now on; standard error at first. Waits like log_writer_flush(). */
void log_writer_set_fd(int fd);

/* Waits until all is written; not for longer than a second, and not after an error. exit() does so
 * by itself, _exit() doesn't. */
void log_writer_flush(void);

struct log_writer_stats {
  int64_t dropped;
  int64_t waiting_bytes; /* taken and not yet written */
  bool is_failing;       /* the last attempt to write ended with an error */
};

/* From any thread. */
struct log_writer_stats log_writer_stats(void);
