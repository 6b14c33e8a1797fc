#include "base/rivals.h"

void rivals_note(struct rivals *rivals, uint64_t who, int64_t now_us) {
  if (who == 0)
    return;
  if (rivals->last != who)
    rivals->other_us = rivals->last_us;
  rivals->last = who;
  rivals->last_us = now_us;
}

bool rivals_compete(const struct rivals *rivals, int64_t now_us, int64_t span_us) {
  return rivals->other_us > 0 && now_us - rivals->other_us < span_us;
}
