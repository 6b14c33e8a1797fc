/*
 * spool_reader: reads a spool's records in order, behind those who append.
 *
 * Threads: one reader, without the owner's lock; the limit is taken with it.
 */
#pragma once

#include "base/buf.h"
#include "spool.h"

struct spool_reader {
  const struct spool *spool; /* borrowed; of it only what never changes */
  struct spool_place place;  /* of the next record */
  int fd;                    /* of place.segment; -1: not open */
  struct buf ahead;          /* read, from `place` on */
};

/* Begins at what is acknowledged. */
void spool_reader_init(struct spool_reader *r, const struct spool *spool);
void spool_reader_deinit(struct spool_reader *r);

/* How far the segment at r->place.segment may be read. */
struct spool_reach {
  uint64_t end;
  bool has_segment; /* there is one of that number */
  bool has_next;
};

/* With the owner's lock. */
void spool_reader_reach(const struct spool_reader *r, struct spool_reach *ret);

/* Goes on to the next segment when this one is read to its end. False: there is nothing to read. */
bool spool_reader_advance(struct spool_reader *r, const struct spool_reach *reach);

/* The next record, valid until the next call. False with code OK: the reach is at its end;
 * otherwise it can't be read, and `status` says why. */
bool spool_reader_peek(struct spool_reader *r, const struct spool_reach *reach,
                       struct record *ret_record, struct auditstore_status *status);

/* Goes on behind the record that was peeked at. */
void spool_reader_skip(struct spool_reader *r, const struct record *record);
