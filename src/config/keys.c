#include "config/table.h"

#include <ctype.h>
#include <stddef.h>

/* clang-format off */
#define KEY(section_, name_, kind_, field, default_, min, max, off, reload, help_)                \
  {.section = #section_, .name = #name_, .kind = CONFIG_##kind_,                                  \
   .offset = offsetof(struct config, section_) + offsetof(struct config_##section_, field),       \
   .default_text = (default_), .min_text = (min), .max_text = (max), .may_be_off = (off),         \
   .is_live = CONFIG_RELOAD_##reload, .help = (help_)},
/* clang-format on */
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
      expected = (char)toupper((unsigned char)*p);
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

/* Names are compared in snake_case, or each hump of camelCase would count as a mistake. */
static struct str to_snake(struct str name, char ret_text[SUGGEST_MAX_LEN]) {
  size_t len = 0;
  for (size_t i = 0; i < name.len && len + 2 <= SUGGEST_MAX_LEN; i++) {
    char c = name.data[i];
    bool is_hump = c >= 'A' && c <= 'Z';
    if (is_hump && i > 0)
      ret_text[len++] = '_';
    ret_text[len++] = (char)tolower((unsigned char)c);
  }
  return str_of(ret_text, len);
}

struct suggestion {
  struct str given;
  const char *best;
  size_t distance;
};

/* A third of the letters may differ. */
static void consider(struct suggestion *s, const char *name) {
  size_t d = distance(s->given, str_z(name));
  if (d >= s->distance || d > s->given.len / 3)
    return;
  s->distance = d;
  s->best = name;
}

const char *config_suggest_section(struct str section) {
  char snake[SUGGEST_MAX_LEN];
  struct suggestion s = {.given = to_snake(section, snake), .distance = SUGGEST_MAX_LEN};
  for (int i = 0; i < config_key_count; i++)
    consider(&s, config_keys[i].section);
  return s.best;
}

const char *config_suggest_key(struct str section, struct str name) {
  char snake[SUGGEST_MAX_LEN];
  struct suggestion s = {.given = to_snake(name, snake), .distance = SUGGEST_MAX_LEN};
  for (int i = 0; i < config_key_count; i++)
    if (str_equal(str_z(config_keys[i].section), section))
      consider(&s, config_keys[i].name);
  return s.best;
}
