/*
 * rivals: whether several take from the same thing at the time: a limit that is for their sake
 * needn't hold for one who is alone. No clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Embedded; zeroed at first. */
struct rivals {
  uint64_t last;    /* who took last; 0: nobody */
  int64_t last_us;  /* when */
  int64_t other_us; /* when another did, the last time; 0: never */
};

/* `who`, a number of its own, takes; 0: nobody that counts. */
void rivals_note(struct rivals *rivals, uint64_t who, int64_t now_us);

/* Two or more did within the last `span_us`. */
bool rivals_compete(const struct rivals *rivals, int64_t now_us, int64_t span_us);
