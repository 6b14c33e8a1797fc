/*
 * spool: events on disk, in segment files that are only appended to.
 *
 * Words. place = a segment's number and an offset in it; acknowledged = everything before this
 * place is settled and won't be read again; limit = how far a reader may go: with syncing, what is
 * on the disk; otherwise what was written.
 *
 * Files of the folder: `lock`, held by flock; NNNN.segment, numbered from 1 without gaps;
 * `acknowledged`, a place; `rejected`, lines of events that the store refused for good (see
 * rejects.h). A segment begins with a header that holds its number and where the segment before it
 * ends: what lies behind that there never counted. A damaged segment is set aside by renaming it to
 * NNNN.damaged, which makes the gap a known one; its number isn't used again.
 *
 * After an error of fsync a segment gets nothing more: what it holds up to the last good sync
 * stays, the next event begins a new one.
 *
 * Threads: every function but spool_open and those of the reader is called with the owner's lock
 * held. Errors fill `status`, which may not be NULL.
 */
#pragma once

#include "auditstore/status.h"
#include "base/list.h"
#include "record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_HEADER_BYTES ((uint64_t)32)
#define SPOOL_NAME_BYTES   32

struct spool_place {
  uint64_t segment;
  uint64_t offset;
};

struct spool_options {
  const char *dir;
  uint64_t max_bytes; /* of all segments and the rejected */
  bool is_unsynced;   /* readers needn't wait for the disk */
};

struct spool_segment {
  struct list_link link;
  uint64_t number;
  uint64_t end;  /* of what counts */
  uint64_t size; /* of the file */
};

struct spool {
  char *dir; /* owned */
  int dir_fd, lock_fd, acknowledged_fd;
  uint64_t max_bytes, segment_bytes;
  bool is_unsynced;
  struct list segments; /* the newest is the last */
  int fd;               /* of the last one while it may be appended to; -1: the next begins anew */
  uint64_t next_number;
  bool is_spent;            /* the segment of fd holds bytes that don't count */
  uint64_t synced_end;      /* in the segment of fd */
  uint64_t unsynced_events; /* behind it */
  struct spool_place acknowledged;
  uint64_t bytes;          /* of all segments, as on disk */
  uint64_t rejected_bytes; /* kept here by the owner */
  uint64_t replayed;       /* events found at the start */
  uint64_t cut_bytes;      /* found at the start behind the last good record */
  uint64_t syncs, sync_failures;
  bool is_syncing; /* between spool_sync_begin and _end */
};

/* Locks the folder, which is made if need be, checks what is in it and cuts what a crash left. */
enum auditstore_code spool_open(const struct spool_options *options, struct spool **ret,
                                struct auditstore_status *status);

/* Deletes what is acknowledged. NULL is fine. */
void spool_free(struct spool *s);

/* Whether `len` more bytes fit under max_bytes; if they don't, makes room of what is settled, for
 * which it waits for the disk. */
bool spool_has_room(struct spool *s, size_t len);

/* Whether an append of so much begins a new segment: all must be synced before it. */
bool spool_must_rotate(const struct spool *s, size_t len);

/* Whether something was appended and isn't synced. */
bool spool_is_behind(const struct spool *s);

/* Appends records made by record_begin(), which it seals. All or nothing. There must be room. */
enum auditstore_code spool_append(struct spool *s, uint8_t *records, size_t len, size_t events,
                                  struct auditstore_status *status);

/* ---- to the disk, in three steps, so that the lock needn't be held for the second ---- */

struct spool_sync {
  int fd; /* -1: there is nothing to do */
  uint64_t end;
  uint64_t events;
};

void spool_sync_begin(struct spool *s, struct spool_sync *ret);

/* fdatasync(2). Returns 0 or an errno. Without the lock. */
int spool_sync_run(const struct spool_sync *sync);

/* False: it failed; nothing behind the last good sync counts any more, unless is_unsynced. */
bool spool_sync_end(struct spool *s, const struct spool_sync *sync, int error);

/* ---- behind the reader ---- */

/* Everything before `place` is settled. Returns the number below which segments may be deleted,
 * once the place is on the disk; 0: none may. That, too, is two more steps: */
uint64_t spool_acknowledge(struct spool *s, struct spool_place place);

/* fdatasync(2). Returns 0 or an errno: then they stay until the next time. Without the lock. */
int spool_delete_sync(const struct spool *s);

void spool_delete_end(struct spool *s, uint64_t below, int error);

/* How far the segment may be read, and whether another one follows. False: there is no such one. */
bool spool_limit(const struct spool *s, uint64_t number, uint64_t *ret_end, bool *ret_has_next);

/* "0000000000000001.segment" */
void spool_segment_name(uint64_t number, char ret_name[SPOOL_NAME_BYTES]);
