#include "base/suggest.h"
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
  if (str_is(given, snake))
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
    if (str_is(section, config_keys[i].section) && name_matches(config_keys[i].name, name))
      return i;
  return -1;
}

bool config_has_section(struct str section) {
  for (int i = 0; i < config_key_count; i++)
    if (str_is(section, config_keys[i].section))
      return true;
  return false;
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

const char *config_suggest_section(struct str section) {
  char snake[SUGGEST_MAX_LEN];
  struct suggestion s;
  suggestion_init(&s, to_snake(section, snake));
  for (int i = 0; i < config_key_count; i++)
    suggestion_consider(&s, config_keys[i].section);
  return s.best;
}

const char *config_suggest_key(struct str section, struct str name) {
  char snake[SUGGEST_MAX_LEN];
  struct suggestion s;
  suggestion_init(&s, to_snake(name, snake));
  for (int i = 0; i < config_key_count; i++)
    if (str_is(section, config_keys[i].section))
      suggestion_consider(&s, config_keys[i].name);
  return s.best;
}
