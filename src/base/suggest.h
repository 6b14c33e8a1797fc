/*
 * suggest: the known name nearest to a misspelled one.
 */
#pragma once

#include "base/str.h"

#define SUGGEST_MAX_LEN 64

struct suggestion {
  struct str given; /* borrowed */
  const char *best; /* of those considered; NULL: none is near */
  size_t distance;
};

void suggestion_init(struct suggestion *suggestion, struct str given);

/* Takes `name` when it is nearer than those before. A third of the letters may differ. */
void suggestion_consider(struct suggestion *suggestion, const char *name);
