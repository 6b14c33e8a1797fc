#include "base/budget.h"

static bool has_room(const struct budget *budget, size_t bytes) {
  return budget->limit_bytes == 0 || (budget->used_bytes <= budget->limit_bytes &&
                                      bytes <= budget->limit_bytes - budget->used_bytes);
}

bool budget_take(struct budget *budget, size_t bytes) {
  for (const struct budget *b = budget; b; b = b->parent) {
    if (!has_room(b, bytes))
      return false;
  }
  budget_force(budget, bytes);
  return true;
}
