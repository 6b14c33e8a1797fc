#include "config/table.h"

#include <stddef.h>

#define KEY(section, key, kind, field, def, min, max, off, help)                                   \
  {#section,                                                                                       \
   #key,                                                                                           \
   CONFIG_##kind,                                                                                  \
   offsetof(struct config, section) + offsetof(struct config_##section, field),                    \
   def,                                                                                            \
   min,                                                                                            \
   max,                                                                                            \
   off,                                                                                            \
   help},
const struct config_key config_keys[] = {
#include "config/keys.def"
};
#undef KEY

const int config_key_count = (int)(sizeof(config_keys) / sizeof(config_keys[0]));

/* "max_open_conns" and "maxOpenConns" are one name. */
static bool name_matches(const char *snake, struct str given) {
  if (str_equal(str_z(snake), given))
    return true;
  size_t i = 0;
  for (const char *p = snake; *p; p++, i++) {
    char expected = *p;
    if (expected == '_') {
      p++;
      expected = (char)(*p - 'a' + 'A');
    }
    if (i >= given.len || given.data[i] != expected)
      return false;
  }
  return i == given.len;
}

int config_find_key(struct str section, struct str name) {
  for (int i = 0; i < config_key_count; i++)
    if (str_equal(str_z(config_keys[i].section), section) &&
        name_matches(config_keys[i].name, name))
      return i;
  return -1;
}

bool config_has_section(struct str section) {
  for (int i = 0; i < config_key_count; i++)
    if (str_equal(str_z(config_keys[i].section), section))
      return true;
  return false;
}

#define SUGGEST_MAX_LEN 64

static int min3(int a, int b, int c) {
  int ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Levenshtein distance; names are short. */
static int distance(struct str a, struct str b) {
  int row[SUGGEST_MAX_LEN + 1];
  if (a.len > SUGGEST_MAX_LEN || b.len > SUGGEST_MAX_LEN)
    return SUGGEST_MAX_LEN;
  for (size_t j = 0; j <= b.len; j++)
    row[j] = (int)j;
  for (size_t i = 1; i <= a.len; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= b.len; j++) {
      int above = row[j];
      row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a.data[i - 1] != b.data[j - 1]));
      diagonal = above;
    }
  }
  return row[b.len];
}

/* A third of the letters may differ. */
static bool is_near(int d, struct str given) {
  return d <= (int)given.len / 3;
}

const char *config_suggest_section(struct str section) {
  const char *best = NULL;
  int best_distance = SUGGEST_MAX_LEN;
  for (int i = 0; i < config_key_count; i++) {
    int d = distance(section, str_z(config_keys[i].section));
    if (d < best_distance) {
      best_distance = d;
      best = config_keys[i].section;
    }
  }
  return is_near(best_distance, section) ? best : NULL;
}

const char *config_suggest_key(struct str section, struct str name) {
  const char *best = NULL;
  int best_distance = SUGGEST_MAX_LEN;
  for (int i = 0; i < config_key_count; i++) {
    if (!str_equal(str_z(config_keys[i].section), section))
      continue;
    int d = distance(name, str_z(config_keys[i].name));
    if (d < best_distance) {
      best_distance = d;
      best = config_keys[i].name;
    }
  }
  return is_near(best_distance, name) ? best : NULL;
}
