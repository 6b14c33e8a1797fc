/*
 * peers: whether more than one connection writes. No I/O, no clock.
 *
 * Lanes can't be taken away from a batch, and a large one takes tens of milliseconds. While others
 * write as well, no connection gets them all: the last free one is for somebody else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Embedded; zeroed at first. */
struct peers {
  uint64_t last;    /* who wrote last; 0: nobody */
  int64_t last_us;  /* when */
  int64_t other_us; /* when another did, the last time; 0: never */
};

/* `peer` queued a request: a number of its connection, 0 for what comes from none. */
void peers_note(struct peers *peers, uint64_t peer, int64_t now_us);

/* Two or more did within the last second. */
bool peers_compete(const struct peers *peers, int64_t now_us);
