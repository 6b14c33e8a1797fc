/*
 * reminder: how often a trouble that lasts is told of: at once, after 1, 2, 5 and 10 minutes, and
 * every 10 minutes then; and at once when it is of another kind, of which it knows a few, so that
 * two which take turns aren't news each time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define REMINDER_KINDS     4
#define REMINDER_TEXT_SIZE 256

/* Embedded; zeroed: no trouble. */
struct reminder {
  int64_t since_us; /* monotonic; when the trouble began */
  int64_t next_us;
  int told;  /* how many times */
  int kinds; /* of `texts`, which were told */
  char texts[REMINDER_KINDS][REMINDER_TEXT_SIZE];
};

/* Says that there is trouble, and of what kind; true: it is to be told now. */
bool reminder_is_due(struct reminder *reminder, const char *text, int64_t now_us);

/* The trouble is over: the next one is another. */
void reminder_end(struct reminder *reminder);
