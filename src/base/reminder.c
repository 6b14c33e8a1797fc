#include "base/reminder.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define MINUTE_US (60 * CLOCK_US_PER_S)

/* When it is told after the first time. */
static int64_t due_after(int64_t lasted_us) {
  static const int minutes[] = {1, 2, 5, 10};
  for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
    if (lasted_us < minutes[i] * MINUTE_US)
      return minutes[i] * MINUTE_US;
  }
  return (lasted_us / (10 * MINUTE_US) + 1) * 10 * MINUTE_US;
}

static bool is_known(const struct reminder *reminder, const char *text) {
  for (int i = 0; i < reminder->kinds; i++) {
    if (strncmp(reminder->texts[i], text, REMINDER_TEXT_SIZE - 1) == 0)
      return true;
  }
  return reminder->kinds == REMINDER_KINDS;
}

bool reminder_is_due(struct reminder *reminder, const char *text, int64_t now_us) {
  bool is_first = reminder->told == 0;
  bool is_new = !is_known(reminder, text);
  if (is_first)
    reminder->since_us = now_us;
  if (!is_first && !is_new && now_us < reminder->next_us)
    return false;
  if (is_new)
    snprintf(reminder->texts[reminder->kinds++], REMINDER_TEXT_SIZE, "%s", text);
  reminder->next_us = reminder->since_us + due_after(now_us - reminder->since_us);
  reminder->told++;
  return true;
}

void reminder_end(struct reminder *reminder) {
  *reminder = (struct reminder){0};
}
