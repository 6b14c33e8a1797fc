#include "base/suggest.h"

static size_t min(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Edit distance in which swapping two neighbours is one step, as it is for the hand that typed it.
 * Three rows of the table are kept: swapping looks back by two. */
static size_t distance(struct str a, struct str b) {
  size_t rows[3][SUGGEST_MAX_LEN + 1];
  if (a.len > SUGGEST_MAX_LEN || b.len > SUGGEST_MAX_LEN)
    return SUGGEST_MAX_LEN;
  for (size_t j = 0; j <= b.len; j++)
    rows[0][j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    size_t *row = rows[i % 3];
    const size_t *above = rows[(i - 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      row[j] = min(min(above[j], row[j - 1]) + 1, above[j - 1] + (a.data[i - 1] != b.data[j - 1]));
      if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
        row[j] = min(row[j], rows[(i - 2) % 3][j - 2] + 1);
    }
  }
  return rows[a.len % 3][b.len];
}

void suggestion_init(struct suggestion *suggestion, struct str given) {
  *suggestion = (struct suggestion){.given = given, .distance = SUGGEST_MAX_LEN};
}

void suggestion_consider(struct suggestion *suggestion, const char *name) {
  size_t d = distance(suggestion->given, str_z(name));
  if (d >= suggestion->distance || d > suggestion->given.len / 3)
    return;
  suggestion->distance = d;
  suggestion->best = name;
}
